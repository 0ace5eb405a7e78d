import { type DeployWish, FILES } from "./wish.ts";

/** What countersign.yaml has for this deployment; the rest of it is as `countersign init` writes it. */
export function gatewayConfig(wish: DeployWish): string {
  const { publicUrl, behind, port, origins } = wish;
  const listen =
    behind === "iis-ancm"
      ? "{ behind: iis-ancm }   # IIS says on which port"
      : `{ address: 127.0.0.1:${port}, behind: iis-arr, proof: { file: ${FILES.proof} } }`;
  const issuers = issuersOf(wish);
  return `# Merge this into countersign.yaml, in the place of the keys of the same names. Written by: countersign iis init.
# Then: countersign serve --check

public-url: ${quoted(publicUrl)}
listen: ${listen}
${origins.length === 0 ? "" : `origins: [ ${origins.map(quoted).join(", ")} ]\n`}${issuers}
# IIS discards what its process writes to standard output, and a service's goes into a log that rotates away.
audit: [ { file: logs/audit.jsonl, rotate: 100MiB }, { stream: AUDIT } ]
${behind === "iis-ancm" ? "log: { file: logs/gateway.log }\n" : ""}state: state
`;
}

function issuersOf({ behind, signIn }: DeployWish): string {
  const windows = `  iis: { windows-auth: true, key: { file: ${FILES.key} } }\n`;
  switch (signIn) {
    case "windows":
      return `issuers:   # beside your own, if any\n${windows}`;
    case "oidc":
      return "# issuers: as for any gateway; with client: { … } it signs people in itself.\n";
    case "certificates":
      return `issuers:   # beside your own, if any
${behind === "iis-arr" ? `  # Behind ARR only what the module signs tells IIS's certificate header from a visitor's.\n${windows}` : ""}  certs:
    client-certificates: true
    users:   # replace: whose each certificate is
      - { user: example, issuer: [ "CN=Issuing CA" ], subject: [ "CN=example" ] }
`;
  }
}

/** As JSON, which YAML reads. */
function quoted(text: string): string {
  return JSON.stringify(text);
}
