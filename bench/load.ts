import { percentile } from "./statistics.ts";

/** Every message of every peer carries this many bytes. */
export const MESSAGE_BYTES = 200;
const KEY_COUNT = 1_000;
const WARM_UP_MS = 150;
/** A peer whose promises resolve without I/O would starve timers; the clock is looked at this often as well. */
const OPERATIONS_PER_LOOK = 512;

export const KEYS: readonly string[] = Array.from({ length: KEY_COUNT }, (_, index) => `key-${index}`);

/** 200 bytes each, all different. */
export const BODIES: readonly Buffer[] = KEYS.map((key) => Buffer.alloc(MESSAGE_BYTES, `${key} `));

export interface Order {
  readonly id: string;
  readonly buyer: string;
  readonly item: number;
  readonly quantity: number;
  readonly priceCents: number;
  readonly placedAt: number;
  readonly note: string;
  /** Only in measurements of latency. */
  readonly slot?: number | undefined;
  readonly sentAt?: number | undefined;
}

/** Orders whose JSON has 200 bytes. */
export const ORDERS: readonly Order[] = KEYS.map((key, index) => order(key, index, {}));

function order(key: string, index: number, extra: { slot?: number; sentAt?: number }): Order {
  const draft = { id: key, buyer: `buyer-${index * 7}`, item: index % 20, quantity: 1 + (index % 3) };
  const full = { ...draft, priceCents: 1_999 + index, placedAt: 1_750_000_000_000 + index, note: "", ...extra };
  const missing = MESSAGE_BYTES - Buffer.byteLength(JSON.stringify(full));
  return { ...full, note: "n".repeat(Math.max(0, missing)) };
}

export function timedOrder(slot: number, sentAt: number): Order {
  return { ...ORDERS[slot % KEY_COUNT]!, note: "", slot, sentAt };
}

/** A fresh 200-byte body that says which slot sent it and when. */
export function timedBody(slot: number, sentAt: number): Buffer {
  const body = Buffer.alloc(MESSAGE_BYTES);
  body.writeUInt32LE(slot, 0);
  body.writeDoubleLE(sentAt, 4);
  return body;
}

export function readTimedBody(body: Uint8Array): { slot: number; sentAt: number } {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  return { slot: view.getUint32(0, true), sentAt: view.getFloat64(4, true) };
}

/**
 * Keeps `inFlight` callers busy, each of which awaits its operation before it starts the next one, and answers the
 * operations completed per second after a warm-up. It goes on beyond `durationMs` until every caller had its turn on average.
 */
export async function closedLoop(
  inFlight: number,
  durationMs: number,
  operation: (sequence: number) => Promise<unknown>,
): Promise<number> {
  let sequence = 0;
  let completed = 0;
  let running = true;
  let measured: { readonly at: number; readonly completed: number } | undefined;
  let rate = Number.NaN;
  const warmUpUntil = performance.now() + WARM_UP_MS;

  const look = () => {
    const now = performance.now();
    if (measured === undefined) {
      // What the first calls wait for is no part of it either: connections, what a client has to learn first.
      if (now >= warmUpUntil && completed >= inFlight) measured = { at: now, completed };
    } else if (running && now >= measured.at + durationMs && completed - measured.completed >= inFlight) {
      rate = ((completed - measured.completed) / (now - measured.at)) * 1_000;
      running = false;
    }
  };
  const timer = setInterval(look, 5);
  const caller = async () => {
    while (running) {
      await operation(sequence++);
      completed++;
      if (completed % OPERATIONS_PER_LOOK === 0) look();
    }
  };
  try {
    await Promise.all(Array.from({ length: inFlight }, caller));
  } finally {
    running = false;
    clearInterval(timer);
  }
  return rate;
}

/** How many operations completed per second, and how long all but the slowest hundredth of them took at most. */
export interface Paced {
  readonly perSecond: number;
  readonly p99Ms: number;
}

/** A closed loop that also takes the time of each operation. */
export async function timedLoop(
  inFlight: number,
  durationMs: number,
  operation: (sequence: number) => Promise<unknown>,
): Promise<Paced> {
  const times = new Times();
  const perSecond = await closedLoop(inFlight, durationMs, times.taken(operation));
  return { perSecond, p99Ms: times.p99Ms };
}

/** How long calls took that began after the warm-up. */
export class Times {
  readonly #samples: number[] = [];
  readonly #from = performance.now() + WARM_UP_MS;

  /** The same call, with its time taken. */
  taken<A extends unknown[]>(call: (...values: A) => Promise<unknown>): (...values: A) => Promise<void> {
    return async (...values) => {
      const startedAt = performance.now();
      await call(...values);
      if (startedAt >= this.#from) this.#samples.push(performance.now() - startedAt);
    };
  }

  get p99Ms(): number {
    return percentile(this.#samples, 0.99);
  }
}

export function limiterKeys(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => `caller-${index}`);
}

const DECISIONS_PER_LOOK = 10_000;

/** Decisions per second after a warm-up. `decide` makes those from a number up to another one. */
export async function decisionLoop(
  durationMs: number,
  decide: (from: number, to: number) => void | Promise<void>,
): Promise<number> {
  let decisions = 0;
  const run = async (forMs: number): Promise<number> => {
    const [start, before] = [performance.now(), decisions];
    let elapsedMs = 0;
    while (elapsedMs < forMs) {
      await decide(decisions, decisions + DECISIONS_PER_LOOK);
      decisions += DECISIONS_PER_LOOK;
      elapsedMs = performance.now() - start;
    }
    return ((decisions - before) / elapsedMs) * 1_000;
  };
  await run(WARM_UP_MS);
  return run(durationMs);
}

/** Completes `count` operations with `inFlight` at once, as fast as they go. */
export async function complete(count: number, inFlight: number, operation: (sequence: number) => Promise<unknown>) {
  let sequence = 0;
  const caller = async () => {
    while (sequence < count) await operation(sequence++);
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, caller));
}

/** How messages are offered while latency is measured: so many unhandled at any time, or so many per second. */
export type Offered = { readonly inFlight: number } | { readonly perSecond: number };

/** Both ends of a peer's topic. `send` need not wait for the handler; it is told through `handled`. */
export interface Channel {
  send(slot: number, sentAt: number): Promise<unknown>;
  close(): Promise<void>;
}
export type OpenChannel = (handled: (slot: number, sentAt: number) => void) => Promise<Channel>;

/** Time from before `publish` is called until the handler is called, in milliseconds. */
export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export async function measureLatency(open: OpenChannel, offered: Offered, durationMs: number): Promise<Latency> {
  const samples: number[] = [];
  const waiting = new Map<number, () => void>();
  let recordFrom = Number.POSITIVE_INFINITY;
  const channel = await open((slot, sentAt) => {
    if (sentAt >= recordFrom) samples.push(performance.now() - sentAt);
    const resolve = waiting.get(slot);
    waiting.delete(slot);
    resolve?.();
  });
  const sendAndWait = async (slot: number) => {
    const handled = new Promise<void>((resolve) => waiting.set(slot, resolve));
    await channel.send(slot, performance.now());
    await handled;
  };
  try {
    await sendAndWait(0);
    recordFrom = performance.now() + WARM_UP_MS;
    const until = recordFrom + durationMs;
    if ("inFlight" in offered) await offerInFlight(offered.inFlight, recordFrom, until, sendAndWait);
    else await offerAtRate(offered.perSecond, until, sendAndWait);
  } finally {
    await channel.close();
  }
  return { p50Ms: percentile(samples, 0.5), p99Ms: percentile(samples, 0.99) };
}

/** Every caller sends at least once while it is recorded, however long its messages take. */
async function offerInFlight(
  inFlight: number,
  recordFrom: number,
  until: number,
  send: (slot: number) => Promise<void>,
) {
  const caller = async (_: unknown, slot: number) => {
    let sentAt: number;
    do {
      sentAt = performance.now();
      await send(slot);
    } while (performance.now() < until || sentAt < recordFrom);
  };
  await Promise.all(Array.from({ length: inFlight }, caller));
}

/** Sends when due, whatever the fate of earlier ones, so that a slow peer's waiting is not left out of its latency. */
async function offerAtRate(perSecond: number, until: number, send: (slot: number) => Promise<void>) {
  const from = performance.now();
  const sent: Promise<void>[] = [];
  while (performance.now() < until) {
    const due = Math.floor(((performance.now() - from) / 1_000) * perSecond);
    while (sent.length < due) sent.push(send(sent.length + 1));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await Promise.all(sent);
}
