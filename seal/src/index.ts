export type { KeySet } from "./cached-keys.ts";
export type { EpochSeconds, HeaderList, SealClaims, SealedMessageClaims } from "./claims.ts";
export { isCovered, payloadDigest } from "./digests.ts";
export { type EscapeOptions, escapeToken, parseUserName, unescapeToken, userName } from "./escape.ts";
export type { SealPublicKey } from "./jwks.ts";
export { isKid } from "./jws.ts";
export { fileKeySet, type RemoteKeySetOptions, remoteKeySet, staticKeySet } from "./keys.ts";
export type { NatsMessage, PlainMessage, ReceivedHeaders, ReceivedMessage } from "./received.ts";
export {
  type SealDraft,
  type SealedHeaders,
  type SealingKey,
  sealToken,
  sealTree,
  TREE_LEAVES_MAX,
} from "./seal.ts";
export { SEAL_ERROR_CODES, SealError, type SealErrorCode } from "./seal-error.ts";
export { checkSubject, isReservedSubject, subjectMatches } from "./subject.ts";
export { uuidv7 } from "./uuid.ts";
export {
  createVerifier,
  type Revocable,
  type SealedSender,
  type VerifiedMessage,
  type Verifier,
  type VerifierOptions,
} from "./verify.ts";
