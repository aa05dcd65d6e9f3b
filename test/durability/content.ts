import assert from "node:assert/strict";
import type { Lane, NewMessage, Stored } from "../../src/contracts/messages.ts";
import type { EmbeddedEngine } from "../../src/engines/embedded/index.ts";
import { heldText } from "./history.ts";

/** What an engine holds, seen from the outside. */
export interface EngineContent {
  /** By topic and group, one per partition. */
  readonly topics: Readonly<Record<string, Readonly<Record<string, readonly LaneContent[]>>>>;
  readonly keyValues: Readonly<Record<string, string>>;
}

export interface LaneContent {
  /** In stored order. */
  readonly unsettled: readonly Unsettled[];
  /** Those that were delayed once, by name: their places depend on when they became due. */
  readonly delayed: readonly Unsettled[];
}

interface Unsettled {
  readonly position: number;
  readonly name: string;
  readonly held: string;
}

/** The greatest fence that was seen of each lane. */
export type Fences = Map<string, bigint>;

const patienceMs = 60_000;

/** Names end with the size of their body, and every part of a message follows from its name. */
export function messageOf(name: string, more: Partial<NewMessage> = {}): NewMessage {
  const number = numberOf(name);
  return {
    body: bodyOf(name),
    ...(number % 3 === 0 ? {} : { key: `key ${number % 17}` }),
    ...(number % 5 === 0 ? { headers: { origin: name, "content-type": "text/plain" } } : {}),
    ...more,
  };
}

function numberOf(name: string): number {
  let number = 0;
  for (const character of name) number = (Math.imul(number, 31) + character.charCodeAt(0)) >>> 0;
  return number;
}

export function bodyOf(name: string): Buffer {
  const bytes = Number(name.slice(name.lastIndexOf("/") + 1));
  const body = Buffer.alloc(Math.max(bytes, name.length + 1), numberOf(name) & 255);
  body.write(`${name}\n`, 0, "latin1");
  return body;
}

export function nameOf(stored: Pick<Stored, "body">): string {
  const body = Buffer.from(stored.body);
  return body.toString("latin1", 0, body.indexOf(10));
}

function assertWhole(stored: Stored, name: string): void {
  const expected = messageOf(name);
  assert.ok(Buffer.from(stored.body).equals(Buffer.from(expected.body)), `the body of ${name} is not what was written`);
  assert.equal(stored.key, expected.key, `the key of ${name}`);
  assert.deepEqual(stored.headers, expected.headers, `the headers of ${name}`);
}

/** Reads everything that is not settled, and every key-value. Notes the fences of the grants that this takes. */
export async function contentOf(
  engine: EmbeddedEngine,
  fences: Fences,
  wasDelayed: (name: string) => boolean,
): Promise<EngineContent> {
  const topics: Record<string, Record<string, LaneContent[]>> = {};
  for (const topic of await engine.messages.topics()) {
    await allDue(engine, topic);
    topics[topic] = {};
    const description = await engine.messages.describe(topic);
    for (const { group, lanes } of description.groups) {
      const lags = lanes.map((lane) => lane.lag);
      topics[topic][group] = await groupContent(engine, topic, group, lags, fences, wasDelayed);
    }
  }
  const keyValues: Record<string, string> = {};
  for (const { key, value } of await engine.keyValue.scan("", { limit: 100_000 })) {
    keyValues[key] = Buffer.from(value).toString("latin1");
  }
  return { topics, keyValues };
}

async function allDue(engine: EmbeddedEngine, topic: string): Promise<void> {
  const { clock, timers } = engine.world;
  const end = clock.monotonic() + patienceMs;
  while ((await engine.messages.describe(topic)).delayedCount > 0) {
    assert.ok(clock.monotonic() < end, `delayed messages of ${topic} do not become due`);
    await timers.sleep(20);
  }
  // What has just become due may still be on its way to the disk; a commit waits for everything before it.
  await engine.keyValue.commit([]);
}

async function groupContent(
  engine: EmbeddedEngine,
  topic: string,
  group: string,
  lags: readonly number[],
  fences: Fences,
  wasDelayed: (name: string) => boolean,
): Promise<LaneContent[]> {
  const contents: LaneContent[] = lags.map(() => ({ unsettled: [], delayed: [] }));
  const late = new AbortController();
  const cancel = engine.world.timers.schedule(patienceMs, () => {
    late.abort(new Error(`what ${topic} says is unsettled cannot be fetched`));
  });
  const signal = AbortSignal.any([engine.ended, late.signal]);
  const member = await engine.messages.join(topic, group, {
    sessionMs: 10_000,
    revokeMs: 10_000,
    windowMax: 1_000_000,
  });
  for (let granted = 0; granted < lags.length; granted++) {
    const lane = await member.nextLane({ signal });
    noteFence(fences, lane);
    contents[lane.partition] = await laneContent(lane, lags[lane.partition]!, signal, wasDelayed);
  }
  await member.leave();
  cancel();
  return contents;
}

export function noteFence(fences: Fences, lane: Pick<Lane, "topic" | "group" | "partition" | "fence">): void {
  const name = `${lane.topic}/${lane.group}/${lane.partition}`;
  const before = fences.get(name) ?? -1n;
  assert.ok(lane.fence > before, `the fence of lane ${name} is ${lane.fence} after ${before}`);
  fences.set(name, lane.fence);
}

async function laneContent(
  lane: Lane,
  lag: number,
  signal: AbortSignal,
  wasDelayed: (name: string) => boolean,
): Promise<LaneContent> {
  const held = new Map(lane.held.map((entry) => [entry.position, entry]));
  const unsettled: Unsettled[] = [];
  const delayed: Unsettled[] = [];
  let last = -1n;
  for (let left = lag; left > 0; ) {
    const messages = await lane.fetch(left, { signal });
    left -= messages.length;
    for (const message of messages) {
      const name = nameOf(message);
      assertWhole(message, name);
      assert.ok(message.position > last, "positions do not grow");
      last = message.position;
      const late = wasDelayed(name);
      const position = late ? -1 : Number(message.position);
      (late ? delayed : unsettled).push({ position, name, held: heldText(held.get(message.position)) });
      held.delete(message.position);
    }
  }
  assert.equal(held.size, 0, "held entries without a message are left");
  delayed.sort((a, b) => (a.name < b.name ? -1 : 1));
  return { unsettled, delayed };
}
