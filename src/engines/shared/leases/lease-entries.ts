import { ByteReader, ByteWriter } from "../binary.ts";

export interface Holder {
  readonly holder: string;
  token: number;
  readonly weight: number;
  readonly capacity: number;
  ttlMs: number;
  endsAt: number;
  data: string | undefined;
  /** Its end counts from the write that is to come. */
  unstamped: boolean;
}

export interface Waiter {
  readonly holder: string;
  readonly weight: number;
  readonly capacity: number;
  /** Where the one who waits hears of its turn. */
  channel: string;
  patienceMs: number;
  /** Believed to wait until then, unless it asks again. */
  until: number;
  unstamped: boolean;
}

/** When a store wrote a state, by its own clock, and a number of that write, greater than those of all writes before. */
export interface Stamp {
  readonly now: number;
  readonly number: number;
}

/** No grant has it; stands for the number of the stamp. */
export const stampedToken = 0;

/** The first one had no instants that count from a stamp, and a channel for each that waits. */
const formats = { first: 1, present: 2 } as const;

/** `isUnstamped`: instants that count from the stamp that is to come are written as what they add to it, below zero. */
export function encodeEntries(holders: readonly Holder[], waiters: readonly Waiter[], isUnstamped: boolean): Buffer {
  const channels = new Map<string, number>();
  for (const { channel } of waiters) if (!channels.has(channel)) channels.set(channel, channels.size);
  const writer = new ByteWriter().u8(formats.present).whole(channels.size);
  for (const channel of channels.keys()) writer.text(channel);
  writer.whole(holders.length);
  for (const { holder, token, weight, capacity, ttlMs, endsAt, data, unstamped } of holders) {
    writer.text(holder).whole(token).whole(weight).whole(capacity).f64(ttlMs);
    writer.f64(isUnstamped && unstamped ? -ttlMs : endsAt);
    if (data === undefined) writer.u8(0);
    else writer.u8(1).text(data);
  }
  writer.whole(waiters.length);
  for (const { holder, weight, capacity, channel, patienceMs, until, unstamped } of waiters) {
    writer.text(holder).whole(weight).whole(capacity).whole(channels.get(channel)!);
    writer.f64(isUnstamped && unstamped ? -patienceMs : until);
  }
  return writer.done();
}

export interface Entries {
  readonly holders: readonly Holder[];
  readonly waiters: readonly Waiter[];
}

export function decodeEntries(bytes: Uint8Array, stamp: Stamp = { now: 0, number: 0 }): Entries {
  const reader = new ByteReader(bytes, "a leased name");
  const format = reader.u8();
  if (format !== formats.first && format !== formats.present) throw reader.corrupt();
  const channels: string[] = [];
  if (format === formats.present) for (let left = reader.whole(); left > 0; left--) channels.push(reader.text());
  const instant = (): number => {
    const read = reader.f64();
    return read < 0 ? stamp.now - read : read;
  };
  const holders: Holder[] = [];
  for (let left = reader.whole(); left > 0; left--) {
    const holder = reader.text();
    const token = reader.whole() || stamp.number;
    const [weight, capacity, ttlMs] = [reader.whole(), reader.whole(), reader.f64()];
    const endsAt = instant();
    const data = reader.u8() === 0 ? undefined : reader.text();
    holders.push({ holder, token, weight, capacity, ttlMs, endsAt, data, unstamped: false });
  }
  const waiters: Waiter[] = [];
  for (let left = reader.whole(); left > 0; left--) {
    const holder = reader.text();
    const [weight, capacity] = [reader.whole(), reader.whole()];
    const channel = format === formats.first ? reader.text() : channels[reader.whole()];
    if (channel === undefined) throw reader.corrupt();
    waiters.push({ holder, weight, capacity, channel, patienceMs: 0, until: instant(), unstamped: false });
  }
  reader.end();
  return { holders, waiters };
}
