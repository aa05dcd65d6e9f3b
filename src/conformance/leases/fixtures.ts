import { equal, ok } from "node:assert/strict";
import type { Lease, LeaseDescription, LeaseRequest } from "../../contracts/index.ts";
import type { LeaseSubject, LeasesEngine } from "../conformance-case.ts";
import { eventually, within } from "../expectations.ts";

/** So long that nothing ends during a case, on any machine. */
export const longMs = 600_000;
/** How far two clocks that count whole milliseconds may be apart on the same instant. */
export const slackMs = 2;

export function request(holder: string, more: Partial<LeaseRequest> = {}): LeaseRequest {
  return { holder, ttlMs: longMs, waitMs: 0, ...more };
}

/** The holder must get the name, now or within its `waitMs`. */
export async function acquired(
  engine: LeasesEngine,
  name: string,
  holder: string,
  more: Partial<LeaseRequest> = {},
): Promise<Lease> {
  const lease = await within(engine.world, `${holder} acquires`, engine.leases.acquire(name, request(holder, more)));
  ok(lease !== undefined, `${holder} gets the name`);
  equal(lease.name, name);
  equal(lease.holder, holder);
  equal(lease.ttlMs, more.ttlMs ?? longMs);
  ok(typeof lease.token === "bigint" && lease.token >= 1n && lease.token < 2n ** 63n, "the token fits 64 bits");
  return lease;
}

/** The holder must not get the name. */
export async function declined(
  engine: LeasesEngine,
  name: string,
  holder: string,
  more: Partial<LeaseRequest> = {},
): Promise<void> {
  equal(await engine.leases.acquire(name, request(holder, more)), undefined, `${holder} must not get the name`);
}

/** Asks for the name and waits as long as it takes. */
export function waiting(
  engine: LeasesEngine,
  name: string,
  holder: string,
  more: Partial<LeaseRequest> = {},
): Promise<Lease> {
  const answer = engine.leases.acquire(name, request(holder, { waitMs: Number.POSITIVE_INFINITY, ...more }));
  const lease = answer.then((found) => {
    ok(found !== undefined, `${holder} waits until it gets the name`);
    return found;
  });
  lease.catch(() => undefined);
  return lease;
}

/** As many requests wait; an engine that cannot tell is believed. */
export async function queued(engine: LeasesEngine, name: string, count: number): Promise<void> {
  if (!engine.leases.capabilities.fifo) return;
  await eventually(engine.world, `${count} wait for ${name}`, async () => {
    return (await engine.leases.describe(name)).waiting === count;
  });
}

export function holdersOf(description: LeaseDescription): readonly string[] {
  return description.holders.map(({ holder }) => holder);
}

export async function holders(engine: LeasesEngine, name: string): Promise<readonly string[]> {
  return holdersOf(await engine.leases.describe(name));
}

/** Waits until nobody holds the name any more. */
export async function freed(engine: LeasesEngine, name: string): Promise<void> {
  await eventually(engine.world, `${name} is free`, async () => (await holders(engine, name)).length === 0);
}

export function needsCrash(subject: LeaseSubject): true | string {
  return subject.crash === undefined ? "the host cannot crash this engine, or nothing of it would survive" : true;
}

export function needsFifo(subject: LeaseSubject): true | string {
  return subject.engine.leases.capabilities.fifo || "the engine declares no order among those who wait";
}

export function needsCounted(subject: LeaseSubject): true | string {
  return subject.engine.leases.capabilities.counted || "the engine declares that it cannot count";
}

export function needsAll(...needs: readonly ((subject: LeaseSubject) => true | string)[]) {
  return (subject: LeaseSubject): true | string => {
    for (const need of needs) {
      const answer = need(subject);
      if (answer !== true) return answer;
    }
    return true;
  };
}

/** A watch that is read one state at a time. */
export class Watching {
  readonly #engine: LeasesEngine;
  readonly #controller = new AbortController();
  readonly #iterator: AsyncIterator<LeaseDescription>;

  constructor(engine: LeasesEngine, name: string) {
    this.#engine = engine;
    this.#iterator = engine.leases.watch(name, { signal: this.#controller.signal })[Symbol.asyncIterator]();
  }

  async next(): Promise<LeaseDescription> {
    const result = await within(this.#engine.world, "the next state of the watch", this.#iterator.next());
    ok(!result.done, "the watch goes on");
    return result.value;
  }

  /** Reads on until a state is seen; states in between may be missing, and the same may come twice. */
  async until(what: string, seen: (description: LeaseDescription) => boolean): Promise<LeaseDescription> {
    for (let reads = 0; reads < 10_000; reads++) {
      const description = await this.next();
      if (seen(description)) return description;
    }
    throw new Error(`the watch never showed ${what}`);
  }

  async end(): Promise<void> {
    this.#controller.abort();
    await within(this.#engine.world, "the end of the watch", this.#drained());
  }

  async #drained(): Promise<void> {
    while (!(await this.#iterator.next()).done);
  }
}
