export * from "./claims.ts";
export * from "./escape.ts";
export * from "./seal.ts";
export * from "./subject.ts";
export * from "./uuid.ts";
