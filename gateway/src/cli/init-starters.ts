/** What the starters are filled with. */
export interface StarterOptions {
  readonly kind: "operator" | "hosted";
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
  const hosted =
    "\n  mode: hosted\n  dangerously-without-trusted-proxy: true   # a stolen credential works elsewhere";
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
  keys: secrets/nats${replicas}${kind === "hosted" ? hosted : ""}

policy: policy.yaml
audit: [ stdout, { stream: AUDIT } ]
`;
}

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
