import type { Entry } from "./entry.ts";

export type TrustCode =
  | "user-variable-empty"
  | "user-variable-in-condition"
  | "identity-header-not-everywhere"
  | "identity-header-kept"
  | "identity-header-copied"
  | "proof-missing"
  | "proof-in-web-config"
  | "proof-short"
  | "backend-beyond-loopback"
  | "listens-everywhere"
  | "pairing-token-set"
  | "tls-unverified"
  | "module-skips-requests"
  | "module-key-missing"
  | "module-key-in-web-config"
  | "module-pool-unfit"
  | "module-missing"
  | "cookie-logged"
  | "shared-origin"
  | "cors-header-added";

/** By what a request could pass for another user's, or a secret could be read. */
export const TRUST: Readonly<Record<TrustCode, Entry>> = {
  "user-variable-empty": {
    severity: "error",
    why: "Rules run before IIS knows the user: the variable is empty there, whoever signs in, and the header with it.",
    fix: "Have a managed module set the header after authentication; Countersign's is CountersignIdentity.cs.",
    certainty: "documented",
  },
  "user-variable-in-condition": {
    severity: "danger",
    why: "Rules run before IIS knows the user: the variable is empty, the condition never holds (or, negated, always does), and a later rule may pass the visitor's own header on.",
    fix: "Take the condition out. Ask for Windows authentication on the site instead, and have a managed module set the header.",
    certainty: "documented",
  },
  "identity-header-not-everywhere": {
    severity: "danger",
    why: "Another rule sends requests to the same place without setting this header, so that a visitor on its path sends the header themselves and is whoever they say.",
    fix: "Set the header in every rule to that place; empty where there is nothing to say.",
    certainty: "inferred",
  },
  "identity-header-kept": {
    severity: "danger",
    why: 'With replace="false" a header that the visitor sends stays, and they are whoever they say.',
    fix: 'Take replace="false" out.',
    certainty: "documented",
  },
  "identity-header-copied": {
    severity: "danger",
    elsewhere: "warning",
    why: "{HTTP_…} is what the visitor sends under that name: they are whoever they say.",
    fix: "Have a managed module set the header after authentication. If a proxy in front of IIS sends it, IIS has to know that it is that proxy, and nobody else may reach the site.",
    certainty: "documented",
  },
  "proof-missing": {
    severity: "danger",
    elsewhere: "hidden",
    why: "Nothing tells the gateway that a request came through IIS: any process that reaches its port could send the same. The gateway refuses such requests.",
    fix: "Have the rule set the shared secret, or the module CountersignIdentity sign each request.",
    snippet: '<set name="HTTP_COUNTERSIGN_PROOF" value="{countersign:proof}" />',
    certainty: "inferred",
  },
  "proof-in-web-config": {
    severity: "warning",
    elsewhere: "hidden",
    why: "Whoever edits or copies the site reads the secret with this file, and can speak to the gateway as IIS.",
    fix: "Put it into a rewrite map of this site in applicationHost.config, and refer to that; then make a new secret.",
    snippet: '<set name="HTTP_COUNTERSIGN_PROOF" value="{countersign:proof}" />',
    certainty: "inferred",
  },
  "proof-short": {
    severity: "error",
    elsewhere: "hidden",
    why: "The gateway takes secrets of 32 to 256 printable characters and refuses every request with another.",
    fix: "Make a new one: `countersign iis init` does.",
    certainty: "source",
  },
  "backend-beyond-loopback": {
    severity: "danger",
    elsewhere: "hidden",
    why: "Requests cross the network in the clear: whoever is on the way reads cookies, tokens and the shared secret, and can send all of them.",
    fix: "Run it on this machine and write http://127.0.0.1:PORT; or use https, with each request signed by CountersignIdentity.",
    certainty: "inferred",
  },
  "listens-everywhere": {
    severity: "danger",
    why: "The process listens on every address, so that anybody who reaches the port comes in past IIS. ASP.NET Core Module speaks to 127.0.0.1 only.",
    fix: "Have it listen on 127.0.0.1.",
    certainty: "source",
  },
  "tls-unverified": {
    severity: "danger",
    why: "Node then takes whoever answers for the identity provider and for NATS: on the way somebody can hand it keys of their own, and sign as any user.",
    fix: "Take it out. For an authority of your own name its certificate in NODE_EXTRA_CA_CERTS.",
    snippet: '<environmentVariable name="NODE_EXTRA_CA_CERTS" value="C:\\Countersign\\ca.pem" />',
    certainty: "documented",
  },
  "pairing-token-set": {
    severity: "danger",
    why: "ASP.NET Core Module uses the token as it is set, for every process: whoever reads this file can speak to the process as IIS.",
    fix: "Take it out. The module makes one for each process.",
    certainty: "source",
  },
  "module-skips-requests": {
    severity: "error",
    why: "With the preCondition managedHandler the module runs for ASP.NET pages only, not for requests that are handed on: none of them is signed.",
    fix: 'Write preCondition="".',
    snippet: '<add name="CountersignIdentity" type="CountersignIdentity" preCondition="" />',
    certainty: "documented",
  },
  "module-key-in-web-config": {
    severity: "warning",
    why: "Whoever edits or copies the site reads the key with this file, and can sign as any user.",
    fix: "Put it into a file of its own that only the pool's account reads, as `countersign iis init` does; then make a new key.",
    snippet: '<appSettings file="App_Data\\countersign-key.config">',
    certainty: "inferred",
  },
  "module-key-missing": {
    severity: "error",
    why: "Without CountersignKey the module signs nothing, and the gateway knows nobody.",
    fix: "Add the key, base64 of 32 random bytes: `countersign iis init` makes one for both.",
    certainty: "source",
  },
  "module-pool-unfit": {
    severity: "error",
    why: "The pool runs no managed code in Integrated mode, so that CountersignIdentity does not run: nobody is signed in, and what a visitor sends under its names stays.",
    fix: "Set the pool to .NET CLR v4.0, Integrated.",
    certainty: "documented",
  },
  "module-missing": {
    severity: "warning",
    elsewhere: "hidden",
    why: "IIS signs users in, and nothing tells the gateway who they are: the module CountersignIdentity is not there.",
    fix: "Put CountersignIdentity.cs into App_Code, and add the module.",
    snippet: '<add name="CountersignIdentity" type="CountersignIdentity" preCondition="" />',
    certainty: "inferred",
  },
  "cookie-logged": {
    severity: "danger",
    elsewhere: "hidden",
    why: "The log has everybody's session cookie; whoever reads it can be anybody until the session ends.",
    fix: "Take Cookie out of the log's fields.",
    certainty: "inferred",
  },
  "shared-origin": {
    severity: "note",
    elsewhere: "hidden",
    why: "Pages of every application under one host name share an origin: each can call the gateway as its user.",
    fix: "Give the gateway a host name of its own, unless all of these are trusted.",
    certainty: "inferred",
  },
  "cors-header-added": {
    severity: "warning",
    elsewhere: "hidden",
    why: "The gateway says itself which origins may read an answer; with a second header a browser refuses both, or reads what it should not.",
    fix: "Take the header out, and list the origins in countersign.yaml under origins.",
    certainty: "inferred",
  },
};
