import type { FastifyInstance } from "fastify";
import { ANCM_SHUTDOWN_EVENT } from "../hop/headers.ts";
import { RefusalError } from "./server.ts";

/**
 * `POST {application path}/iisintegration`, with which ASP.NET Core Module V2 asks its process to end. Only it can: the
 * request has proved to come from it, and a visitor's event header does not get through it.
 *
 * @source dotnet/aspnetcore, serverprocess.cpp `SendShutdownHttpMessage`; IISMiddleware.cs answers 202
 */
export function addShutdown(app: FastifyInstance, path: string, onShutdown: () => void): void {
  app.post(path, (request, reply) => {
    if (request.hop.event !== ANCM_SHUTDOWN_EVENT) throw new RefusalError({ reason: "not_found", path });
    reply.raw.once("close", onShutdown);
    return reply.code(202).send();
  });
}
