/** What the bare clients of servers share: how messages gather to be published, how they are handled and settled, and how that is measured. */
import { ConsumeClock } from "./consume-clock.ts";
import { BODIES, complete, measureLatency, readTimedBody, timedBody, timedLoop } from "./load.ts";
import type { Peer } from "./peer.ts";

export const LANES = 8;
/** As Tenon's producer: a batch holds at most so many. */
const BATCH_COUNT_MAX = 4_096;
const PREFILLING = 8_192;
/** More than any client keeps unhandled. */
const CONCURRENCY_MAX = 100_000;

type Handle = (body: Uint8Array) => Promise<void>;

/** A client of a server, with no more around it than its users write. */
export interface BareClient<Place> {
  /** Makes a place in which nothing is stored, and removes it afterwards. */
  withPlace<R>(measure: (place: Place) => Promise<R>): Promise<R>;
  /** Resolves when the message is stored. */
  publish(place: Place, n: number, body: Buffer): Promise<unknown>;
  /** Handles all that comes, at most so many at once, and settles it. */
  consume(place: Place, concurrency: number, handle: Handle): Promise<BareConsumer>;
}

export interface BareConsumer {
  /** Resolves when all that was handled is settled. Nothing more will come. */
  settled(): Promise<unknown>;
  stop(): Promise<unknown>;
}

export function barePeer<Place>(client: BareClient<Place>, backlog: number): Omit<Peer, "close"> {
  return {
    publish(inFlight, durationMs) {
      return client.withPlace((place) =>
        timedLoop(inFlight, durationMs, (n) => client.publish(place, n, BODIES[n % BODIES.length]!)),
      );
    },

    consume(concurrency = CONCURRENCY_MAX) {
      return client.withPlace(async (place) => {
        await complete(backlog, PREFILLING, (n) => client.publish(place, n, BODIES[n % BODIES.length]!));
        const clock = new ConsumeClock(backlog);
        const consumer = await client.consume(place, concurrency, async () => clock.handled());
        await clock.everyHandled;
        await consumer.settled();
        const perSecond = clock.perSecond();
        await consumer.stop();
        return perSecond;
      });
    },

    latency(offered, durationMs) {
      return client.withPlace((place) => {
        const open = async (handled: (slot: number, sentAt: number) => void) => {
          const consumer = await client.consume(place, CONCURRENCY_MAX, async (body) => {
            const { slot, sentAt } = readTimedBody(body);
            handled(slot, sentAt);
          });
          const send = (slot: number, sentAt: number) => client.publish(place, slot, timedBody(slot, sentAt));
          const close = async () => {
            await consumer.settled();
            await consumer.stop();
          };
          return { send, close };
        };
        return measureLatency(open, offered, durationMs);
      });
    },
  };
}

/** Handles all, so many at once. */
export async function handleAll<T>(
  messages: readonly T[],
  concurrency: number,
  handle: (message: T) => Promise<void>,
): Promise<void> {
  for (let from = 0; from < messages.length; from += concurrency) {
    await Promise.all(messages.slice(from, from + concurrency).map(handle));
  }
}

/** Handles what arrives within one turn, so many at once; what was handled while a settlement was under way is settled as one. */
export class Arrivals<T> {
  readonly #concurrency: number;
  readonly #handle: (message: T) => Promise<void>;
  readonly #settle: (messages: readonly T[]) => Promise<unknown>;
  #arrived: T[] = [];
  #handled: T[] = [];
  #handling: Promise<void> = Promise.resolve();
  #settling: Promise<void> | undefined;

  constructor(
    concurrency: number,
    handle: (message: T) => Promise<void>,
    settle: (messages: readonly T[]) => Promise<unknown>,
  ) {
    this.#concurrency = concurrency;
    this.#handle = handle;
    this.#settle = settle;
  }

  add(message: T): void {
    if (this.#arrived.push(message) === 1) setImmediate(this.#work);
  }

  readonly #work = () => {
    this.#handling = this.#handling.then(async () => {
      const messages = this.#arrived;
      this.#arrived = [];
      await handleAll(messages, this.#concurrency, this.#handle);
      this.#handled.push(...messages);
      this.#settling ??= this.#settleAll();
    });
  };

  async #settleAll(): Promise<void> {
    while (this.#handled.length > 0) {
      const messages = this.#handled;
      this.#handled = [];
      await this.#settle(messages);
    }
    this.#settling = undefined;
  }

  /** Resolves when all that was handled is settled. */
  async settled(): Promise<void> {
    await this.#handling;
    await this.#settling;
  }
}

interface Batch {
  readonly bodies: Buffer[];
  readonly resolvers: (() => void)[];
  readonly rejecters: ((error: unknown) => void)[];
}

/** Group commit over lanes: what is added within one turn, or while all lanes are busy, goes with the next one that is free. */
export class Gatherer {
  readonly #send: (lane: number, bodies: readonly Buffer[]) => Promise<unknown>;
  readonly #free: number[] = Array.from({ length: LANES }, (_, lane) => lane);
  #batch: Batch = { bodies: [], resolvers: [], rejecters: [] };
  #scheduled = false;

  constructor(send: (lane: number, bodies: readonly Buffer[]) => Promise<unknown>) {
    this.#send = send;
  }

  add(body: Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      const { bodies, resolvers, rejecters } = this.#batch;
      bodies.push(body);
      resolvers.push(resolve);
      rejecters.push(reject);
      if (bodies.length >= BATCH_COUNT_MAX) this.#flush();
      else this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#free.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#batch.bodies.length === 0) return;
    const lane = this.#free.shift();
    if (lane === undefined) return;
    const { bodies, resolvers, rejecters } = this.#batch;
    this.#batch = { bodies: [], resolvers: [], rejecters: [] };
    this.#send(lane, bodies).then(
      () => {
        for (const resolve of resolvers) resolve();
        this.#isFree(lane);
      },
      (error) => {
        for (const reject of rejecters) reject(error);
        this.#isFree(lane);
      },
    );
  }

  #isFree(lane: number): void {
    this.#free.push(lane);
    if (this.#batch.bodies.length > 0) this.#schedule();
  }
}
