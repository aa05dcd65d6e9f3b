import type { Batch, Lane, LaneCommit, MessageEngine, Stored } from "../../contracts/index.ts";
import {
  type ConsumeOptions,
  type MessageContext,
  type Topic,
  type TopicOptions,
  text,
  topic,
} from "../../messaging/index.ts";
import type { World } from "../../world/world.ts";
import type { MessageSubject, MessagesEngine } from "../conformance-case.ts";
import { eventually } from "../expectations.ts";
import { altered } from "../messages/fixtures.ts";

/** Retries come soon, so that a case need not wait. */
export const quick: ConsumeOptions = { retry: { delayMs: 2, delayMsMax: 5 } };

/** The topic `orders` with one partition, the group `group` and texts as values, unless said otherwise. */
export function orders(engine: Publishing, options: Partial<TopicOptions<string>> = {}): Topic<string> {
  return topic(engine, "orders", {
    codec: text(),
    partitions: 1,
    groups: ["group"],
    ...options,
  } as TopicOptions<string>);
}

export interface Publishing {
  readonly messages: MessageEngine;
  readonly world: World;
}

export type Handler = (value: string, context: MessageContext) => void | Promise<void>;

/** Unsettled messages of the group, over all partitions. */
export async function lag(engine: MessagesEngine, name = "orders", group = "group"): Promise<number> {
  const description = await engine.messages.describe(name);
  const found = description.groups.find((each) => each.group === group);
  if (found === undefined) throw new Error(`describe(${name}) does not name the group ${group}`);
  return found.lanes.reduce((sum, lane) => sum + lane.lag, 0);
}

/** Waits until the group has settled everything. */
export function settled(engine: MessagesEngine, name = "orders", group = "group"): Promise<void> {
  return eventually(
    engine.world,
    `${group} settles all of ${name}`,
    async () => (await lag(engine, name, group)) === 0,
  );
}

/**
 * The lives of the process. A handler that belongs to an earlier life is cut off: it is not called any more, and what it
 * awaits through `pause` never comes back.
 */
export class Lives {
  readonly #subject: MessageSubject;
  #number = 0;

  constructor(subject: MessageSubject) {
    this.#subject = subject;
  }

  async crash(): Promise<void> {
    this.#number++;
    await this.#subject.crash!();
  }

  handler(
    handle: (value: string, context: MessageContext, pause: (ms: number) => Promise<void>) => void | Promise<void>,
  ): Handler {
    const born = this.#number;
    const { world } = this.#subject.engine;
    const never = new Promise<void>(() => undefined);
    const pause = async (ms: number) => {
      await world.timers.sleep(ms);
      if (this.#number !== born) await never;
    };
    return (value, context) => (this.#number === born ? handle(value, context, pause) : never);
  }
}

/** Holds handlers to the order of their keys. Values are `key/number`, numbered from 0 in the order of publishing. */
export class KeyOrderCheck {
  /** What was seen that must not be; empty when all is well. */
  readonly faults: string[] = [];
  readonly #next = new Map<string, number>();
  readonly #running = new Map<string, Set<bigint>>();
  readonly #overlap: "never" | "under distinct fences";

  constructor(overlap: "never" | "under distinct fences") {
    this.#overlap = overlap;
  }

  begins(value: string, fence: bigint): void {
    const { key, number } = split(value);
    const next = this.#next.get(key) ?? 0;
    if (number > next) this.faults.push(`${value} began before ${key}/${next} was done`);
    const running = this.#running.get(key) ?? new Set();
    this.#running.set(key, running);
    if (running.size > 0 && this.#overlap === "never") this.faults.push(`${value} overlaps another of its key`);
    if (running.has(fence)) this.faults.push(`${value} overlaps another of its key under the same fence`);
    running.add(fence);
  }

  fails(value: string, fence: bigint): void {
    this.#running.get(split(value).key)?.delete(fence);
  }

  done(value: string, fence: bigint): void {
    const { key, number } = split(value);
    this.#running.get(key)?.delete(fence);
    if (number === (this.#next.get(key) ?? 0)) this.#next.set(key, number + 1);
  }

  /** Nothing runs any more: the process died. */
  died(): void {
    this.#running.clear();
  }

  /** How many messages were done at least once. */
  get doneCount(): number {
    return [...this.#next.values()].reduce((sum, next) => sum + next, 0);
  }
}

function split(value: string): { key: string; number: number } {
  const [key, number] = value.split("/");
  return { key: key!, number: Number(number) };
}

/** `key/number` for every key, in turn. */
export function keyed(keys: number, each: number): readonly { key: string; value: string }[] {
  return Array.from({ length: keys * each }, (_, index) => {
    const key = `k${index % keys}`;
    return { key, value: `${key}/${Math.floor(index / keys)}` };
  });
}

export interface LaneChanges {
  fetch?(
    lane: Lane,
    limit: number,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<readonly Stored[]>;
  commit?(lane: Lane, change: LaneCommit): Promise<void>;
}

/** The engine with the lanes' calls replaced. */
export function withLanes(messages: MessageEngine, changes: LaneChanges): MessageEngine {
  return altered(messages, {
    async join(name, group, options) {
      const member = await messages.join(name, group, options);
      return {
        leave: () => member.leave(),
        nextLane: async (waiting) => alteredLane(await member.nextLane(waiting), changes),
      };
    },
  });
}

function alteredLane(lane: Lane, changes: LaneChanges): Lane {
  const { topic: name, group, partition, fence, revoked, lost, held, suspectBelow } = lane;
  return {
    ...{ topic: name, group, partition, fence, revoked, lost, held, suspectBelow },
    fetch: (limit, options) => changes.fetch?.(lane, limit, options) ?? lane.fetch(limit, options),
    commit: (change) => changes.commit?.(lane, change) ?? lane.commit(change),
    release: () => lane.release(),
  };
}

export function bodyBytes(batch: Batch): number {
  return batch.messages.reduce((sum, message) => sum + message.body.byteLength, 0);
}
