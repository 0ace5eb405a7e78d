/** @returns a cookie's value as the browser sent it; undefined when absent, or there more than once */
export function cookieOf(rawHeaders: readonly string[], name: string): string | undefined {
  const values: string[] = [];
  for (let at = 0; at + 1 < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() !== "cookie") continue;
    for (const pair of (rawHeaders[at + 1] ?? "").split(";")) {
      const equals = pair.indexOf("=");
      if (equals >= 0 && pair.slice(0, equals).trim() === name) values.push(pair.slice(equals + 1).trim());
    }
  }
  // Two of one name: one of them was planted by another host or path.
  return values.length === 1 ? values[0] : undefined;
}
