/** The part of oidc-provider (which comes without types) that the devstack uses. */
declare module "oidc-provider" {
  import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";

  export interface Context {
    readonly oidc: {
      readonly client: { readonly clientId: string };
      readonly params: Readonly<Record<string, string | undefined>>;
      readonly prompts: ReadonlySet<string>;
      readonly result?: { readonly login?: { readonly accountId: string } };
      readonly session: { readonly accountId?: string };
      readonly provider: Provider;
    };
    type: string;
    body: unknown;
  }

  export interface AccessToken {
    resourceServer: ResourceServer;
    scope?: string;
    readonly accountId?: string;
    readonly expiration: number;
    save(): Promise<string>;
  }

  export interface ResourceServer {
    readonly audience: string;
  }

  export interface Grant {
    addOIDCScope(scope: string): void;
    addResourceScope(resource: string, scope: string): void;
    save(): Promise<string>;
  }

  export class Provider {
    constructor(issuer: string, configuration: object);
    callback(): RequestListener;
    interactionDetails(
      request: IncomingMessage,
      response: ServerResponse,
    ): Promise<{ readonly uid: string; readonly params: Readonly<Record<string, unknown>> }>;
    interactionFinished(request: IncomingMessage, response: ServerResponse, result: object): Promise<void>;
    registerGrantType(
      name: string,
      handler: (context: Context) => Promise<void>,
      parameters: readonly string[],
    ): void;
    on(event: string, listener: (context: Context, error: Error) => void): this;
    readonly AccessToken: new (
      values: object,
    ) => AccessToken;
    readonly ResourceServer: new (
      resource: string,
      info: object,
    ) => ResourceServer;
    readonly Grant: new (
      values: object,
    ) => Grant;
  }

  interface PromptList extends Array<object> {
    get(name: string): { readonly checks: { add(check: Check): void } };
  }

  class Check {
    static readonly REQUEST_PROMPT: boolean;
    static readonly NO_NEED_TO_PROMPT: boolean;
    constructor(reason: string, description: string, check: (context: Context) => boolean);
  }

  export const interactionPolicy: { readonly base: () => PromptList; readonly Check: typeof Check };
}
