/**
 * A queue table as it is commonly made on a database: rows are inserted many at once, and taken with FOR UPDATE SKIP LOCKED, deleted and committed.
 * It keeps no order of keys, counts no failures, knows no groups and refuses no duplicates.
 */
import { barePeer, Gatherer, handleAll, LANES } from "./bare-messaging.ts";
import type { Peer } from "./peer.ts";

/** How many rows are taken at once. */
export const TAKEN_MAX = 1_000;

export interface Taken {
  readonly id: number | string;
  readonly body: Buffer;
}

/** One connection, which carries out its statements in turn. */
export interface QueueSession {
  /** One statement and its commit. `tells`: those who wait for the lane hear of it. */
  insert(lane: number, bodies: readonly Buffer[], tells: boolean): Promise<unknown>;
  begin(): Promise<unknown>;
  take(lane: number): Promise<readonly Taken[]>;
  remove(lane: number, taken: readonly Taken[]): Promise<unknown>;
  commit(): Promise<unknown>;
  close(): Promise<unknown>;
}

export interface QueueDatabase {
  make(): Promise<unknown>;
  drop(): Promise<unknown>;
  open(): Promise<QueueSession>;
  /** Calls back when a lane may have something new. Answers how to stop. */
  listen(told: (lane: number) => void): Promise<() => Promise<unknown>>;
  close(): Promise<unknown>;
}

interface Table {
  /** Somebody waits to be told. */
  consumed: boolean;
  readonly gatherer: Gatherer;
}

export async function sqlQueue(database: QueueDatabase, backlog: number): Promise<Peer> {
  const open = () => Promise.all(Array.from({ length: LANES }, () => database.open()));
  const publishers = await open();
  const consumers = await open();

  const client = {
    async withPlace<R>(measure: (table: Table) => Promise<R>): Promise<R> {
      const gatherer = new Gatherer((lane, bodies) => publishers[lane]!.insert(lane, bodies, table.consumed));
      const table: Table = { consumed: false, gatherer };
      await database.make();
      try {
        return await measure(table);
      } finally {
        await database.drop();
      }
    },

    publish: ({ gatherer }: Table, _: number, body: Buffer) => gatherer.add(body),

    async consume(table: Table, concurrency: number, handle: (body: Buffer) => Promise<void>) {
      table.consumed = true;
      const news = consumers.map(() => Promise.withResolvers<void>());
      const stopListening = await database.listen((lane) => news[lane]!.resolve());
      let running = true;
      const lanes = consumers.map(async (session, lane) => {
        while (running) {
          news[lane] = Promise.withResolvers();
          while (await takeBatch(session, lane, concurrency, handle));
          if (running) await news[lane]!.promise;
        }
      });
      return {
        settled() {
          running = false;
          for (const { resolve } of news) resolve();
          return Promise.all(lanes);
        },
        stop: stopListening,
      };
    },
  };
  return {
    ...barePeer(client, backlog),
    async close() {
      await Promise.all([...publishers, ...consumers].map((session) => session.close()));
      await database.close();
    },
  };
}

/** Takes, handles and deletes in one transaction. False when there was nothing. */
async function takeBatch(
  session: QueueSession,
  lane: number,
  concurrency: number,
  handle: (body: Buffer) => Promise<void>,
): Promise<boolean> {
  // Asked at once: a client that pipelines needs one round trip for both.
  const [, taken] = await Promise.all([session.begin(), session.take(lane)]);
  await handleAll(taken, concurrency, ({ body }) => handle(body));
  await Promise.all([taken.length > 0 ? session.remove(lane, taken) : undefined, session.commit()]);
  return taken.length > 0;
}
