export type LimitName =
  | "filesMax"
  | "fileBytesMax"
  | "mistakesMax"
  | "grantRulesMax"
  | "grantPermissionsMax"
  | "lineCharactersMax"
  | "nameCharactersMax";

/** Bounds of everything a policy can make grow. Each is far above honest use and below what hurts. */
export const LIMITS: Readonly<Record<LimitName, number>> = {
  /** Files in a policy folder. */
  filesMax: 100,
  /** Bytes of one policy file. */
  fileBytesMax: 1024 * 1024,
  /** Mistakes reported in one go; what follows is only counted. */
  mistakesMax: 100,
  /** Lines of one Grant after templates are filled. */
  grantRulesMax: 4_000,
  /** Entries of its NATS permissions: a line makes one, or some more for streams and buckets. 4,000 of them are
   *  179 kB of CONNECT, which nats-server takes in 53 ms (measured); more than a credential's megabyte these never are. */
  grantPermissionsMax: 8_000,
  /** Characters of one action line. */
  lineCharactersMax: 512,
  /** Characters of a stream, bucket, queue, consumer, role or identity name. */
  nameCharactersMax: 64,
};
