import type { FastifyInstance } from "fastify";

/**
 * `GET /.well-known/oauth-protected-resource<path>`: which issuers' tokens are believed here. It stands at the
 * origin's root, with the base path behind it, whatever the base path is.
 *
 * @source  RFC 9728 §2, §3.1
 */
export function addResourceMetadata(
  app: FastifyInstance,
  publicUrl: string,
  issuerUrls: readonly string[],
): void {
  const { pathname } = new URL(publicUrl);
  const path = pathname === "/" ? "" : pathname.replace(/\/$/, "");
  app.get(`/.well-known/oauth-protected-resource${path}`, (_request, reply) =>
    reply.header("cache-control", "public, max-age=3600").send({
      resource: publicUrl,
      authorization_servers: issuerUrls,
      bearer_methods_supported: ["header"],
    }),
  );
}
