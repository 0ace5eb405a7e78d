/**
 * A verb and its object, written one way everywhere (policy, tests, command line, audit, explain):
 * `publish orders.eu.1.create`. `formatAction` and `parseAction` convert.
 */
export type Action =
  | { readonly verb: "publish" | "request" | "respond"; readonly subject: string }
  | { readonly verb: "subscribe"; readonly subject: string; readonly queue?: string }
  | {
      readonly verb: "read-stream";
      readonly stream: string;
      readonly subject: string;
      readonly consumer?: string;
    }
  | { readonly verb: "read-kv" | "write-kv"; readonly bucket: string; readonly key: string }
  | { readonly verb: "connect"; readonly way: "native" | "direct" | "mqtt" }
  | { readonly verb: "read-audit" | "end-sessions" | "push-policy" };
