/** Seconds since 1970-01-01T00:00:00Z (RFC 7519 §2, NumericDate). */
export type EpochSeconds = number;

/** Headers as name and value pairs, in order, names in the case they travel in. */
export type HeaderList = readonly (readonly [name: string, value: string])[];
