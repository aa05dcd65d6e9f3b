/** Which hosts reach which. Every way is open that nothing blocks; a host always reaches itself. */
export class NetworkWays {
  readonly #blocked = new Set<string>();
  readonly #closedIn = new Set<string>();
  readonly #closedOut = new Set<string>();

  isOpen(from: string, to: string): boolean {
    if (from === to) return true;
    return !this.#closedOut.has(from) && !this.#closedIn.has(to) && !this.#blocked.has(way(from, to));
  }

  block(from: string, to: string): void {
    this.#blocked.add(way(from, to));
  }

  unblock(from: string, to: string): void {
    this.#blocked.delete(way(from, to));
  }

  partition(groups: readonly (readonly string[])[]): void {
    for (const group of groups) {
      const others = groups.filter((other) => other !== group).flat();
      for (const from of group) for (const to of others) this.block(from, to);
    }
  }

  isolate(host: string, direction: "in" | "out" | "both"): void {
    if (direction !== "out") this.#closedIn.add(host);
    if (direction !== "in") this.#closedOut.add(host);
  }

  heal(): void {
    this.#blocked.clear();
    this.#closedIn.clear();
    this.#closedOut.clear();
  }
}

function way(from: string, to: string): string {
  return JSON.stringify([from, to]);
}
