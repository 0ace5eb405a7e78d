/** Seconds since 1970-01-01T00:00:00Z, as in a JWT's `exp` (RFC 7519 §2, NumericDate); whole or fractional. */
export type EpochSeconds = number;

/** Reads the time. Only the composition root holds the real one, so that tests can say what time it is. */
export type Clock = () => EpochSeconds;
