import type { Lane, Membership, NewMessage, Stored } from "../../contracts/messages.ts";
import type { Simulation } from "../../simulation/index.ts";
import type { JournaledEngine } from "./embedded-engine.ts";
import { type EmbeddedOptions, embedded } from "./index.ts";

export const directory = "/data/engine";

/** An engine in the simulated world whose segments are small; its inner parts are at hand. */
export async function opened(simulation: Simulation, options: Partial<EmbeddedOptions> = {}): Promise<JournaledEngine> {
  const { world } = simulation;
  const small = { directory, segmentBytes: 4096, retentionMs: 0, reserveBytes: 0, world };
  return (await embedded({ ...small, ...options })) as JournaledEngine;
}

/** The machine dies, and only what was synced is left. */
export async function reopened(
  simulation: Simulation,
  options: Partial<EmbeddedOptions> = {},
): Promise<JournaledEngine> {
  simulation.crash("lost");
  simulation.restart();
  return opened(simulation, options);
}

export function message(text: string, more: Partial<NewMessage> = {}): NewMessage {
  return { body: Buffer.from(text), ...more };
}

export async function published(
  engine: JournaledEngine,
  texts: readonly string[],
  more: Partial<NewMessage> = {},
): Promise<readonly (bigint | undefined)[]> {
  const messages = texts.map((text) => message(text, more));
  return engine.messages.append({ topic: "orders", partition: 0, messages });
}

export function texts(stored: readonly Pick<Stored, "body">[]): string[] {
  return stored.map(({ body }) => Buffer.from(body).toString());
}

export async function laneOf(
  engine: JournaledEngine,
  group = "billing",
): Promise<{ readonly lane: Lane; readonly member: Membership }> {
  const options = { sessionMs: 10_000, revokeMs: 1_000, windowMax: 100_000 };
  const member = await engine.messages.join("orders", group, options);
  return { member, lane: await member.nextLane({ signal: engine.ended }) };
}

export async function fetched(engine: JournaledEngine, lane: Lane, count: number): Promise<Stored[]> {
  const stored: Stored[] = [];
  while (stored.length < count) stored.push(...(await lane.fetch(count - stored.length, { signal: engine.ended })));
  return stored;
}

/** Settles the next messages of the group in order. */
export async function settled(engine: JournaledEngine, count: number, group = "billing"): Promise<void> {
  const { lane, member } = await laneOf(engine, group);
  const stored = await fetched(engine, lane, count);
  await lane.commit({ settled: stored.map(({ position }) => position) });
  await member.leave();
}

/** `m0`, `m1`, … of so many bytes. */
export function numbered(count: number, bytes = 0, first = 0): string[] {
  return Array.from({ length: count }, (_, index) => `m${first + index} `.padEnd(bytes, "."));
}

export async function segments(simulation: Simulation): Promise<string[]> {
  return (await simulation.world.disk.list(directory)).filter((name) => name.endsWith(".journal"));
}
