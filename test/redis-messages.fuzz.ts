/**
 * Processes that start, die and pause by chance over one Redis: producers that repeat what was not answered, members that take lanes, settle in any order
 * and hold. What was acknowledged must not be lost or come again, order and fences must hold.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { type Lane, type Membership, type NewMessage, TenonError } from "tenon/contracts";
import type { Connection } from "../src/engines/redis/connection.ts";
import { engine } from "./engines.ts";
import { ioredisFlavour, type Process, removeKeys, startProcess } from "./redis-messages-host.ts";

const redis = await engine("redis");
const seeds = Number(process.env.TENON_FUZZ_SEEDS ?? 3);
const runMs = Number(process.env.TENON_FUZZ_MS ?? 4_000);

const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const partitions = 3;
const topic = "orders";
const group = "group";

/** A small generator of our own, so that a seed gives the same plan again, though not the same timing. */
function draws(seed: number): () => number {
  let state = seed * 2_654_435_769 + 1;
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e37_79b9) >>> 0;
    return state / 2 ** 32;
  };
}

interface Grant {
  readonly fence: bigint;
  /** Positions delivered under it. */
  readonly delivered: Set<bigint>;
  last: bigint;
}

/** What a partition's producers and owners were told. */
class PartitionLedger {
  readonly partition: number;
  readonly violations: string[];
  /** Texts by position, as far as appends were answered. */
  readonly stored = new Map<bigint, string>();
  readonly settled = new Set<bigint>();
  /** Settlements that were asked for; they may have happened. */
  readonly maybeSettled = new Set<bigint>();
  readonly seen = new Map<bigint, string>();
  #granted = -1n;

  constructor(partition: number, violations: string[]) {
    this.partition = partition;
    this.violations = violations;
  }

  granted(fence: bigint): Grant {
    if (fence <= this.#granted) this.#fault(`fence ${fence} was granted after ${this.#granted}`);
    this.#granted = fence;
    return { fence, delivered: new Set(), last: -1n };
  }

  delivered(grant: Grant, position: bigint, text: string, settledBefore: ReadonlySet<bigint>): void {
    if (position <= grant.last) this.#fault(`position ${position} came after ${grant.last} under fence ${grant.fence}`);
    for (let skipped = grant.last + 1n; skipped < position; skipped++) {
      if (!this.maybeSettled.has(skipped) && this.stored.has(skipped)) {
        this.#fault(`position ${skipped} is unsettled and was passed by under fence ${grant.fence}`);
      }
    }
    if (settledBefore.has(position))
      this.#fault(`position ${position} was settled and came again under fence ${grant.fence}`);
    const before = this.seen.get(position) ?? this.stored.get(position);
    if (before !== undefined && before !== text) this.#fault(`position ${position} was ${before} and is ${text}`);
    this.seen.set(position, text);
    grant.last = position;
    grant.delivered.add(position);
  }

  /** A commit that began under `fence` was answered; `newest` was the newest grant that somebody knew when it began. */
  committed(fence: bigint, newest: bigint): void {
    if (newest > fence) this.#fault(`fence ${fence} committed although ${newest} was granted`);
  }

  get newest(): bigint {
    return this.#granted;
  }

  #fault(text: string): void {
    this.violations.push(`partition ${this.partition}: ${text}`);
  }
}

class Run {
  readonly violations: string[] = [];
  readonly ledgers = Array.from(
    { length: partitions },
    (_, partition) => new PartitionLedger(partition, this.violations),
  );
  readonly random: () => number;
  readonly prefix = `tenon-fuzz-${randomUUID()}`;
  readonly #flavour = ioredisFlavour(redis.url);
  readonly #processes = new Set<Process>();
  stopping = false;
  appended = 0;
  deaths = 0;

  constructor(seed: number) {
    this.random = draws(seed);
  }

  async start(): Promise<Process> {
    const process = await startProcess(this.#flavour, this.prefix, {
      through: (connection) => this.#unreliable(connection),
    });
    this.#processes.add(process);
    return process;
  }

  /** Some calls are not sent, some answers do not come back, and some come late. */
  #unreliable(connection: Connection): Connection {
    return {
      isCluster: connection.isCluster,
      command: (...command) => connection.command(...command),
      listen: (...listening) => connection.listen(...listening),
      close: () => connection.close(),
      run: async (...script) => {
        const draw = this.stopping ? 1 : this.random();
        if (draw < 0.01) throw new TenonError("unavailable", "not sent");
        const reply = await connection.run(...script);
        if (draw < 0.02) throw new TenonError("unavailable", "no answer", { outcome: "unknown" });
        if (draw < 0.1) await sleep(this.random() * 60);
        return reply;
      },
    };
  }

  async kill(process: Process): Promise<void> {
    this.deaths += 1;
    this.#processes.delete(process);
    await process.die();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes) await process.close();
    const client = new Redis(redis.url);
    await removeKeys([client], this.prefix);
    client.disconnect();
  }

  /** One producer of one partition; its process dies now and then, and the next one repeats what was not answered. */
  async produce(partition: number): Promise<void> {
    const ledger = this.ledgers[partition]!;
    const producer = { id: `producer-${partition}`, epoch: 0, sequence: 0 };
    let process = await this.start();
    while (!this.stopping) {
      const messages: NewMessage[] = Array.from({ length: 1 + Math.floor(this.random() * 8) }, (_, index) => ({
        body: Buffer.from(`${partition}/${producer.sequence + index}`),
        key: `key-${partition}`,
      }));
      for (;;) {
        const doomed = this.random() < 0.03;
        const appending = process.messages.append({ topic, partition, messages, producer: { ...producer } });
        try {
          if (doomed) {
            appending.catch(() => undefined);
            await this.kill(process);
            process = await this.start();
            continue;
          }
          const positions = await appending;
          for (const [index, position] of positions.entries()) {
            ledger.stored.set(position!, messages[index]!.body.toString());
          }
          break;
        } catch (error) {
          assert.ok(error instanceof TenonError, String(error));
          if (error.code !== "unavailable") this.violations.push(`appending: ${error.message}`);
        }
      }
      producer.sequence += messages.length;
      this.appended += messages.length;
      await sleep(this.random() * 8);
    }
    await process.close();
  }

  /** One place for a member: its process lives for a while, then it leaves, dies, or stops answering until its session is over. */
  async consume(): Promise<void> {
    while (!this.stopping) {
      const process = await this.start();
      const sessionMs = 250 + this.random() * 300;
      const member = await repeated(() =>
        process.messages.join(topic, group, { sessionMs, revokeMs: 150, windowMax: 40 }),
      );
      const working = this.work(member, () => this.stopping).catch((error) => this.violations.push(String(error)));
      await sleep(100 + this.random() * 900);
      if (this.random() < 0.5 && !this.stopping) {
        await this.kill(process);
        continue;
      }
      if (this.random() < 0.5) await member.leave().catch(() => undefined);
      await process.close();
      await working;
    }
  }

  async work(member: Membership, done: () => boolean): Promise<void> {
    const workers: Promise<void>[] = [];
    while (!done()) {
      try {
        workers.push(this.own(await member.nextLane()));
      } catch (error) {
        if (error instanceof TenonError && error.code === "closed") break;
        throw error;
      }
    }
    await Promise.all(workers);
  }

  async own(lane: Lane): Promise<void> {
    const ledger = this.ledgers[lane.partition]!;
    const grant = ledger.granted(lane.fence);
    let unsettled: bigint[] = [];
    try {
      while (!lane.lost.aborted) {
        if (lane.revoked.aborted && this.random() < 0.8) {
          await lane.release().catch(() => undefined);
          return;
        }
        const settledBefore = new Set(ledger.settled);
        const signal = AbortSignal.any([lane.revoked, AbortSignal.timeout(50 + Math.floor(this.random() * 200))]);
        const fetching = repeated(() => lane.fetch(1 + Math.floor(this.random() * 20), { signal }));
        const messages = await fetching.catch((error: unknown) => {
          if (signal.aborted) return [];
          throw error;
        });
        for (const { position, body } of messages) {
          ledger.delivered(grant, position, Buffer.from(body).toString(), settledBefore);
          unsettled.push(position);
        }
        unsettled = await this.#commit(lane, ledger, unsettled);
      }
    } catch (error) {
      assert.ok(error instanceof TenonError, String(error));
      if (!["lost", "closed", "unavailable"].includes(error.code)) this.violations.push(error.message);
    }
  }

  /** Settles some of them, and holds some others. */
  async #commit(lane: Lane, ledger: PartitionLedger, positions: bigint[]): Promise<bigint[]> {
    const settled = positions.filter(() => this.random() < 0.7);
    const left = positions.filter((position) => !settled.includes(position));
    const held = left
      .filter(() => this.random() < 0.3)
      .map((position) => ({ position, failures: 1, deliveries: 0, dueAt: 0 }));
    for (const position of settled) ledger.maybeSettled.add(position);
    const { newest } = ledger;
    await repeated(() => lane.commit({ settled, held }));
    ledger.committed(lane.fence, newest);
    for (const position of settled) ledger.settled.add(position);
    return left;
  }

  /** When all is calm, everything that was stored and not settled comes, once, and then nothing is left. */
  async drain(process: Process): Promise<void> {
    const member = await process.messages.join(topic, group, {
      sessionMs: 10_000,
      revokeMs: 1_000,
      windowMax: 100_000,
    });
    const lanes: Lane[] = [];
    while (lanes.length < partitions) lanes.push(await member.nextLane());
    const draining = lanes.map(async (lane) => {
      const ledger = this.ledgers[lane.partition]!;
      const grant = ledger.granted(lane.fence);
      const { next } = (await process.messages.describe(topic)).partitions[lane.partition]!;
      for (;;) {
        const { groups } = await process.messages.describe(topic);
        if (groups[0]!.lanes[lane.partition]!.low === next) return;
        const settledBefore = new Set(ledger.settled);
        const messages = await lane.fetch(100);
        for (const { position, body } of messages) {
          ledger.delivered(grant, position, Buffer.from(body).toString(), settledBefore);
        }
        await lane.commit({ settled: messages.map(({ position }) => position) });
      }
    });
    await Promise.all(draining);
  }

  check(): void {
    for (const ledger of this.ledgers) {
      let expected = 0;
      for (const [position, text] of [...ledger.stored].sort(([a], [b]) => (a < b ? -1 : 1))) {
        if (!ledger.seen.has(position)) this.violations.push(`${text} at ${position} never came`);
        if (text !== `${ledger.partition}/${expected}`)
          this.violations.push(`${text} stands where ${expected} belongs`);
        expected += 1;
      }
    }
  }
}

/** As the messaging block does: the same again, for as long as Redis was not reached. */
async function repeated<T>(action: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await action();
    } catch (error) {
      if (!(error instanceof TenonError && error.code === "unavailable")) throw error;
      await sleep(5);
    }
  }
}

for (let seed = 1; seed <= seeds; seed++) {
  const name = `nothing is lost, comes again or out of order while processes die (seed ${seed})`;
  test(name, { skip: redis.skip, timeout: runMs + 60_000 }, async () => {
    await using run = new Run(seed);
    const first = await run.start();
    await first.messages.declare(topic, { partitions, groups: [group] });
    const work = Promise.all([
      ...Array.from({ length: partitions }, (_, partition) => run.produce(partition)),
      ...Array.from({ length: 3 }, () => run.consume()),
    ]).finally(() => {
      run.stopping = true;
    });
    await Promise.race([sleep(runMs), work]);
    run.stopping = true;
    await work;
    await run.drain(first);
    run.check();
    const description = await first.messages.describe(topic);
    assert.deepEqual(run.violations, []);
    assert.deepEqual(
      description.groups[0]!.lanes.map(({ lag, held }) => [lag, held]),
      Array.from({ length: partitions }, () => [0, 0]),
    );
    assert.ok(run.appended > 100 && run.deaths > 5, `${run.appended} messages and ${run.deaths} deaths test little`);
  });
}
