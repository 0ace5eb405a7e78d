import type { ClusterKind } from "../credentials/keys-folder.ts";

/** What the starters are filled with. */
export interface StarterOptions {
  readonly kind: ClusterKind;
  readonly publicUrl: string;
  /** `tls://host:port`, or `nats://` on loopback. */
  readonly servers: readonly string[];
}

/** Where the issuer's URL belongs, in the configuration to begin with: nobody's, and never to be (RFC 2606 §3). */
export const PLACEHOLDER_ISSUER = "https://login.example.com";

/**
 * A configuration to begin with. It is complete but for the identity provider, whose place shows the form.
 *
 * @source docs/configuration.md
 */
export function starterConfig({ kind, publicUrl, servers }: StarterOptions): string {
  const url = new URL(publicUrl);
  const replicas = servers.length < 3 ? "" : "\n  replicas: 3   # of sessions, keys and the AUDIT stream";
  const modes: Readonly<Record<ClusterKind, string>> = {
    operator: "",
    callout: "\n  mode: callout",
    hosted:
      "\n  mode: hosted\n  dangerously-without-trusted-proxy: true   # a stolen credential works elsewhere",
  };
  const direct = kind === "hosted" ? "" : DIRECT;
  return `# Configuration of Countersign, written by \`countersign init\`. Check it with: countersign serve --check
# Paths are relative to this file. Secrets stand in files of their own: { file: … } or { env: … }.

public-url: ${publicUrl}   # where callers find the gateway
listen: { address: 127.0.0.1:8480 }
trust-domain: ${url.hostname}   # in every seal: what verifies in staging must not in production

# Who says who a caller is. Replace both values. To sign people in at the gateway too, add
#   client: { id: …, secret: { file: secrets/client } }
issuers:
  main: { url: ${PLACEHOLDER_ISSUER}, audience: countersign, attributes: { groups: groups } }

nats:
  servers: [ ${servers.map((server) => `"${server}"`).join(", ")} ]
  keys: secrets/nats${replicas}${modes[kind]}${direct}

policy: policy.yaml
audit: [ stdout, { stream: AUDIT } ]
`;
}

/** What is to be uncommented. */
const DIRECT = `
  # Clients that connect to nats-server by themselves, each judged by the auth callout; the policy lets one in with
  # \`connect direct\` or \`connect mqtt\`. What they reach was chosen with \`countersign init --direct-…\`.
  # direct:
  #   servers: [ "tls://nats.example.com:4222", "wss://nats.example.com" ]   # as they are told
  #   connections: [ standard, websocket, mqtt ]   # leafnode too, if need be
  #   sources: [ 10.0.0.0/8 ]   # default: any`;

/** A policy to begin with: one role, and a test of each kind. */
export function starterPolicy(): string {
  return `# Who may do what; everything else is refused. Written by \`countersign init\`.
# Check it with: countersign policy check policy.yaml
version: 1

roles:
  greeter:
    given-to:
      - { issuer: main, groups: Greeters }   # a value of the attribute \`groups\`
    may:
      - publish greetings.{user}.hello
      - subscribe greetings.>

identities:   # names for the tests, and for: countersign policy explain --as ann …
  ann: { issuer: main, user: ann, groups: [ Greeters ] }

tests:        # a policy whose tests fail never goes live
  - as: ann
    allowed: [ publish greetings.main-ann.hello, subscribe greetings.> ]
    refused: [ publish greetings.main-bob.hello ]
`;
}
