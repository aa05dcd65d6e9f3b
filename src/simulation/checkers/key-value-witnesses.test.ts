import assert from "node:assert/strict";
import { test } from "node:test";
import type { CommitResult, KeyValueChange, KeyValueEntry } from "../../contracts/key-value.ts";
import { SeededGenerator } from "../seeded-generator.ts";
import { rightClock } from "./clock-record.ts";
import type { KeyValueInput, KeyValueOperation, KeyValueOutput } from "./key-value-history.ts";
import { keyValueModel } from "./key-value-model.ts";
import { witnessed } from "./key-value-witnesses.ts";
import { checkLinearizable } from "./linearizability.ts";

/** A store that does one thing after the other. */
class Store {
  readonly #entries = new Map<string, KeyValueEntry>();
  #version = 0n;

  answer(input: KeyValueInput): KeyValueOutput {
    if (input.type === "commit") return { type: "result", result: this.#commit(input.changes) };
    const keys = input.type === "get" ? input.keys : [...this.#entries.keys()].sort();
    return { type: "entries", entries: keys.map((key) => this.#entries.get(key)) };
  }

  #commit(changes: readonly KeyValueChange[]): CommitResult {
    const counters: (number | undefined)[] = [];
    for (const [index, change] of changes.entries()) {
      const current = this.#entries.get(change.key);
      const { condition } = change;
      const holds =
        condition === undefined ||
        ("ifAbsent" in condition ? current === undefined : current?.version === condition.ifVersion);
      if (!holds) return { committed: false, failed: index, reason: "condition", current };
      const sum = change.type === "add" ? Number(String(current?.value ?? "0")) + change.by : undefined;
      if (change.type === "add" && sum! < (change.min ?? -Infinity)) {
        return { committed: false, failed: index, reason: "bound", current };
      }
      counters.push(sum);
    }
    this.#version += 1n;
    for (const [index, change] of changes.entries()) {
      if (change.type === "delete") this.#entries.delete(change.key);
      else if (change.type !== "check") {
        const value = change.type === "put" ? change.value : Buffer.from(String(counters[index]));
        this.#entries.set(change.key, { key: change.key, value, version: this.#version, expiresAt: undefined });
      }
    }
    return { committed: true, version: this.#version, counters };
  }
}

class Drawn {
  readonly #generator: SeededGenerator;
  #writes = 0;

  constructor(seed: number) {
    this.#generator = new SeededGenerator(seed);
  }

  /** A history that a store has really made; some of it nobody was told of, and then it may not have happened. */
  history(): KeyValueOperation[] {
    const generator = this.#generator;
    const plans = Array.from({ length: generator.integer(2, 8) }, (_, index) => {
      const called = index * 10 + generator.integer(0, 9);
      const at = called + generator.float() * 25;
      return { called, at, returned: at + generator.float() * 25, input: this.#input() };
    });
    const store = new Store();
    const operations = plans
      .toSorted((a, b) => a.at - b.at)
      .map(({ called, returned, input }): KeyValueOperation => {
        const told = generator.chance(0.6);
        const output = told || generator.chance(0.6) ? store.answer(input) : undefined;
        const place = told ? returned : undefined;
        return {
          client: "a",
          input,
          calledAt: called,
          called,
          returned: place,
          returnedAt: place,
          output: told ? output : undefined,
        };
      });
    return operations.sort((a, b) => a.called - b.called);
  }

  /** The same, but that one answer is not what it was. */
  spoilt(operations: readonly KeyValueOperation[]): readonly KeyValueOperation[] {
    const reads = operations.filter(({ output }) => output?.type === "entries" && output.entries.length > 0);
    if (reads.length === 0) return operations;
    const one = this.#generator.pick(reads);
    const { entries } = one.output as Extract<KeyValueOutput, { type: "entries" }>;
    const at = this.#generator.integer(0, entries.length - 1);
    const others = reads.flatMap(
      ({ output }) => (output as { entries: readonly (KeyValueEntry | undefined)[] }).entries,
    );
    const same = others.filter((entry) => entry?.key === entries[at]?.key);
    const spoilt =
      one.input.type === "get"
        ? entries.with(at, this.#generator.pick([undefined, ...same]))
        : entries.filter((_, index) => index !== at);
    return operations.map((each) => (each === one ? { ...each, output: { type: "entries", entries: spoilt } } : each));
  }

  #input(): KeyValueInput {
    const drawn = this.#generator.float();
    if (drawn < 0.3) return { type: "get", keys: ["x", "y", "n"] };
    if (drawn < 0.4) return { type: "scan", prefix: "", after: undefined, limit: 1_000 };
    const keys = this.#generator.pick([["x"], ["y"], ["x", "y"], ["n", `own-${this.#writes}`], ["n"]]);
    return { type: "commit", changes: keys.map((key) => this.#change(key)) };
  }

  #change(key: string): KeyValueChange {
    if (key === "n") return { type: "add", key, by: this.#generator.pick([1, -1]), min: 0 };
    const condition = this.#generator.chance(0.3) ? ({ ifAbsent: true } as const) : undefined;
    if (key.startsWith("own") || this.#generator.chance(0.7)) {
      this.#writes += 1;
      return { type: "put", key, value: Buffer.from(`v${this.#writes}`), condition };
    }
    return { type: "delete", key, condition };
  }
}

test("what is known of unknown commits changes no verdict", () => {
  const model = keyValueModel(rightClock, 0);
  const verdicts = { linearizable: 0, violated: 0, undecided: 0 };
  for (let seed = 1; seed <= 3_000; seed++) {
    const drawn = new Drawn(seed);
    const history = drawn.history();
    const operations = seed % 2 === 0 ? history : drawn.spoilt(history);
    const plain = checkLinearizable(model, operations);
    const helped = checkLinearizable(model, witnessed(operations));
    assert.equal(helped.type, plain.type, `seed ${seed}`);
    if (operations === history) assert.equal(plain.type, "linearizable", `seed ${seed}`);
    verdicts[plain.type] += 1;
  }
  assert.ok(verdicts.violated > 100 && verdicts.undecided === 0, JSON.stringify(verdicts));
});
