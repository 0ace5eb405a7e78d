/** The key of the vectors: the one printed in RFC 6979 §A.2.5, so that nobody takes it for a secret. Never seal with it. */
export const TEST_ONLY_PRIVATE_KEY = 0xc9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721n;
