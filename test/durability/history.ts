import assert from "node:assert/strict";
import { isDeepStrictEqual } from "node:util";
import { TenonError } from "../../src/contracts/errors.ts";
import type { CommitResult, KeyValueChange } from "../../src/contracts/key-value.ts";
import type { EngineContent, LaneContent } from "./content.ts";

/** One call of the engine, in terms that mean the same before and after a crash: messages by their names, not positions. */
export type Operation =
  | {
      readonly type: "declare";
      readonly topic: string;
      readonly partitions: number;
      readonly groups: readonly string[];
    }
  | { readonly type: "append"; readonly append: NamedBatch }
  /** Appended when they are due, in any order. */
  | { readonly type: "delay"; readonly append: NamedBatch }
  | {
      readonly type: "settle";
      readonly topic: string;
      readonly group: string;
      readonly partition: number;
      readonly settled: readonly string[];
      readonly held: readonly NamedHold[];
      readonly appends: readonly NamedBatch[];
    }
  | { readonly type: "seek"; readonly topic: string; readonly group: string; readonly low: number }
  | { readonly type: "commit"; readonly changes: readonly NamedChange[] };

export interface NamedBatch {
  readonly topic: string;
  readonly partition: number;
  readonly names: readonly string[];
}

export interface NamedHold {
  readonly name: string;
  readonly failures: number;
  readonly deliveries: number;
  readonly dueAt: number;
}

export type NamedChange =
  | { readonly type: "put"; readonly key: string; readonly value: string; readonly ifAbsent?: boolean | undefined }
  | { readonly type: "delete"; readonly key: string }
  | { readonly type: "add"; readonly key: string; readonly by: number; readonly min?: number | undefined };

export interface Call {
  readonly operation: Operation;
  status: "under way" | "acknowledged" | "unknown" | "refused";
  /** What a commit of key-values answered. */
  committed: boolean | undefined;
  /** It is part of what the engine held afterwards. */
  kept: boolean;
}

interface ModelLane {
  readonly settled: Set<string>;
  readonly held: Map<string, NamedHold>;
}

interface ModelTopic {
  readonly partitions: string[][];
  readonly groups: Map<string, ModelLane[]>;
}

/** What an engine must hold after some calls; written apart from the engine, as plainly as possible. */
class Model {
  readonly #topics = new Map<string, ModelTopic>();
  readonly #keyValues = new Map<string, string>();
  readonly #delayed = new Set<string>();

  apply(operation: Operation): boolean {
    if (operation.type === "declare") this.#declare(operation);
    else if (operation.type === "append") this.#append(operation.append);
    else if (operation.type === "delay") {
      for (const name of operation.append.names) this.#delayed.add(name);
      this.#append(operation.append);
    } else if (operation.type === "settle") this.#settle(operation);
    else if (operation.type === "seek") this.#seek(operation);
    else return this.#commit(operation.changes);
    return true;
  }

  #declare({ topic: name, partitions, groups }: Operation & { type: "declare" }): void {
    let topic = this.#topics.get(name);
    if (topic === undefined) {
      topic = { partitions: Array.from({ length: partitions }, () => []), groups: new Map() };
      this.#topics.set(name, topic);
    }
    for (const group of groups) {
      if (topic.groups.has(group)) continue;
      const lanes = topic.partitions.map((names) => ({ settled: new Set(names), held: new Map() }));
      topic.groups.set(group, lanes);
    }
  }

  #append({ topic, partition, names }: NamedBatch): void {
    this.#topics.get(topic)!.partitions[partition]!.push(...names);
  }

  #settle({ topic, group, partition, settled, held, appends }: Operation & { type: "settle" }): void {
    const lane = this.#topics.get(topic)!.groups.get(group)![partition]!;
    for (const append of appends) this.#append(append);
    for (const name of settled) {
      lane.settled.add(name);
      lane.held.delete(name);
    }
    for (const hold of held) if (!lane.settled.has(hold.name)) lane.held.set(hold.name, hold);
  }

  #seek({ topic: name, group, low }: Operation & { type: "seek" }): void {
    const topic = this.#topics.get(name)!;
    topic.groups.get(group)!.forEach((lane, partition) => {
      lane.settled.clear();
      lane.held.clear();
      for (const settled of topic.partitions[partition]!.slice(0, low)) lane.settled.add(settled);
    });
  }

  #commit(changes: readonly NamedChange[]): boolean {
    for (const change of changes) {
      const current = this.#keyValues.get(change.key);
      if (change.type === "put" && change.ifAbsent === true && current !== undefined) return false;
      if (change.type === "add" && Number(current ?? 0) + change.by < (change.min ?? -Infinity)) return false;
    }
    for (const change of changes) {
      if (change.type === "put") this.#keyValues.set(change.key, change.value);
      else if (change.type === "delete") this.#keyValues.delete(change.key);
      else this.#keyValues.set(change.key, String(Number(this.#keyValues.get(change.key) ?? 0) + change.by));
    }
    return true;
  }

  content(): EngineContent {
    const topics: Record<string, Record<string, LaneContent[]>> = {};
    for (const [name, topic] of this.#topics) {
      topics[name] = {};
      for (const [group, lanes] of topic.groups) {
        topics[name][group] = lanes.map((lane, partition) => this.#laneContent(topic.partitions[partition]!, lane));
      }
    }
    return { topics, keyValues: Object.fromEntries(this.#keyValues) };
  }

  #laneContent(names: readonly string[], lane: ModelLane): LaneContent {
    const unsettled: LaneContent["unsettled"][number][] = [];
    names.forEach((name, position) => {
      if (lane.settled.has(name)) return;
      unsettled.push({ position: this.#delayed.has(name) ? -1 : position, name, held: heldText(lane.held.get(name)) });
    });
    const delayed = unsettled.filter(({ position }) => position < 0).sort((a, b) => (a.name < b.name ? -1 : 1));
    return { unsettled: unsettled.filter(({ position }) => position >= 0), delayed };
  }
}

export function heldText(hold: Omit<NamedHold, "name"> | undefined): string {
  return hold === undefined ? "" : `${hold.failures} ${hold.deliveries} ${hold.dueAt}`;
}

/**
 * The calls made on an engine, in their order, which is the journal's order. Whatever happens, what the engine holds afterwards
 * must be what the first so many of them make of it: none that was acknowledged is missing, none is there in part.
 */
export class History {
  /** What is certain. */
  readonly #model = new Model();
  #calls: Call[] = [];
  readonly #delayed = new Set<string>();

  /** Whether a message of this name was ever to be delayed. */
  readonly wasDelayed = (name: string): boolean => this.#delayed.has(name);

  /** To be called in the same turn as the engine. */
  begin(operation: Operation): Call {
    const call: Call = { operation, status: "under way", committed: undefined, kept: false };
    this.#calls.push(call);
    if (operation.type === "delay") for (const name of operation.append.names) this.#delayed.add(name);
    return call;
  }

  /** Follows a call to its end. `undefined` when it failed as it may; anything but a truthful `TenonError` is thrown. */
  async follow<T>(operation: Operation, start: () => Promise<T>): Promise<T | undefined> {
    const call = this.begin(operation);
    try {
      const answer = await start();
      acknowledge(call, answer);
      return answer;
    } catch (error) {
      if (!(error instanceof TenonError)) throw error;
      call.status = error.outcome === "unknown" ? "unknown" : "refused";
      return undefined;
    }
  }

  /** What the engine holds is compared; from then on it is what is certain. Answers how many calls are in it. */
  reconcile(content: EngineContent): number {
    const calls = this.#calls.filter((call) => call.status !== "refused");
    this.#calls = [];
    const acknowledged = calls.findLastIndex((call) => call.status === "acknowledged") + 1;
    for (const call of calls.slice(0, acknowledged)) this.#accept(call);
    const least = this.#model.content();
    for (let kept = acknowledged; ; kept++) {
      if (isDeepStrictEqual(this.#model.content(), content)) return kept;
      const next = calls[kept];
      if (next === undefined) break;
      this.#accept(next);
    }
    const around = `${acknowledged} calls were acknowledged, ${calls.length - acknowledged} were under way after them`;
    assert.deepEqual(content, least, `the engine holds what no order of the calls explains (${around})`);
    throw new Error("unreachable: the contents differ");
  }

  #accept(call: Call): void {
    const { operation, committed } = call;
    call.kept = true;
    const expected = this.#model.apply(operation);
    if (committed !== undefined) assert.equal(committed, expected, "a conditional commit was decided wrongly");
  }
}

export function acknowledge(call: Call, answer: unknown): void {
  call.status = "acknowledged";
  if (call.operation.type === "commit") call.committed = (answer as CommitResult).committed;
}

export function keyValueChange(change: NamedChange): KeyValueChange {
  if (change.type !== "put") return change;
  const condition = change.ifAbsent === true ? ({ ifAbsent: true } as const) : undefined;
  return { type: "put", key: change.key, value: Buffer.from(change.value), condition };
}
