/** One subscription of the client's, as it asked for it. */
export interface Asked {
  readonly sid: string;
  /** In the client's own words: an inbox begins with `_INBOX.`. */
  readonly subject: string;
  readonly queue?: string;
}
