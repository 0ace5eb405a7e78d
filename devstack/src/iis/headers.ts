/** The headers of one request as IIS holds them: in order, and changed by name without regard to case. */
export class Headers {
  #lines: [name: string, value: string][];

  /** @param raw  as node:http gives them: name, value, name, value */
  constructor(raw: readonly string[]) {
    this.#lines = [];
    for (let at = 0; at + 1 < raw.length; at += 2) this.#lines.push([raw[at] ?? "", raw[at + 1] ?? ""]);
  }

  names(): readonly string[] {
    return this.#lines.map(([name]) => name);
  }

  /** All values of one name, as IIS joins them. */
  get(name: string): string | undefined {
    const values = this.#lines.filter(([each]) => isSame(each, name)).map(([, value]) => value);
    return values.length === 0 ? undefined : values.join(", ");
  }

  delete(name: string): void {
    this.#lines = this.#lines.filter(([each]) => !isSame(each, name));
  }

  set(name: string, value: string): void {
    this.delete(name);
    this.#lines.push([name, value]);
  }

  /** What is appended to what a client sent. */
  append(name: string, value: string): void {
    const former = this.get(name);
    this.set(name, former === undefined ? value : `${former}, ${value}`);
  }

  raw(): string[] {
    return this.#lines.flat();
  }
}

function isSame(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
