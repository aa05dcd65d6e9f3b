import type { KeyValueOperation } from "./key-value-history.ts";

/** Operations whose keys are connected, by being in one operation or under one scanned prefix, stand in one group. */
export function groupsOf(operations: readonly KeyValueOperation[]): readonly (readonly KeyValueOperation[])[] {
  const keys = new Set(operations.flatMap(keysOf));
  const groups = new KeyGroups(keys);
  for (const operation of operations) groups.join(reachOf(operation, keys));
  const members = new Map<string, KeyValueOperation[]>();
  for (const operation of operations) {
    const [first] = reachOf(operation, keys);
    // A scan under which nothing was ever stored, or a get of nothing: it stands alone.
    const group = first === undefined ? ` ${operation.called}` : groups.leaderOf(first);
    const known = members.get(group);
    if (known === undefined) members.set(group, [operation]);
    else known.push(operation);
  }
  return [...members.values()];
}

export function keysOf({ input, output }: KeyValueOperation): readonly string[] {
  if (input.type === "get") return input.keys;
  if (input.type === "commit") return input.changes.map(({ key }) => key);
  return output?.type === "entries" ? output.entries.map((entry) => entry!.key) : [];
}

function reachOf(operation: KeyValueOperation, keys: ReadonlySet<string>): readonly string[] {
  const { input } = operation;
  if (input.type !== "scan") return keysOf(operation);
  return [...keys].filter((key) => key.startsWith(input.prefix));
}

class KeyGroups {
  readonly #leaders = new Map<string, string>();

  constructor(keys: Iterable<string>) {
    for (const key of keys) this.#leaders.set(key, key);
  }

  leaderOf(key: string): string {
    let leader = key;
    for (let above = this.#leaders.get(leader)!; above !== leader; above = this.#leaders.get(leader)!) leader = above;
    this.#leaders.set(key, leader);
    return leader;
  }

  join(keys: readonly string[]): void {
    const [first] = keys;
    for (const key of keys) this.#leaders.set(this.leaderOf(key), this.leaderOf(first!));
  }
}
