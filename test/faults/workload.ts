/** Publishers, consumers, lock holders, counters and watchers, each process with an engine of its own, under one set of ledgers. */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { type KeyValueChange, TenonError, type WatchEvent } from "tenon/contracts";
import { fenced, type Lock, mutex } from "tenon/coordination";
import { json, type PublishOptions, type Topic, topic } from "tenon/messaging";
import type { RedisEngine } from "tenon/redis";
import { below } from "../durability/reports.ts";
import { CounterLedger, LockLedger, MessageLedger } from "./ledgers.ts";

/** What a run does with an engine, as far as it carries it; a canary stands before a real one. */
export type Engine = Pick<RedisEngine, "messages" | "keyValue" | "world"> & {
  readonly leases?: RedisEngine["leases"] | undefined;
};

type LockingEngine = Engine & Pick<RedisEngine, "leases">;

interface Message {
  readonly key: string;
  readonly number: number;
  /** Of one that is delayed. */
  readonly dueAt?: number;
}

const topicName = "orders";
const group = "audit";
const keysPerProcess = 3;
const counterKey = "count/recorded";
const bareCounterKey = "count/bare";
const recordPrefix = "record/";
const flagPrefix = "flag/";

/** Passing troubles are what a storm makes; everything else is a bug. */
const expectedCodes = new Set(["unavailable", "timeout", "lost", "overloaded"]);

export class Workload {
  readonly messages = new MessageLedger();
  readonly locks = new LockLedger();
  readonly counter = new CounterLedger();
  readonly bareCounter = new CounterLedger();
  readonly #faults: string[] = [];
  readonly #draw: (bound: number) => number;
  readonly #consumers: AsyncDisposable[] = [];
  readonly #mirrors: Mirror[] = [];
  readonly #believers = new Map<string, Lock>();
  #actors: Promise<void>[] = [];
  #stopping = false;
  #records = 0;

  constructor(seed: number) {
    this.#draw = below(seed ^ 0x5eed);
  }

  /** How much was going on, for whoever wonders what a run has tested. */
  get summary(): string {
    const { messages, locks, counter } = this;
    const publishes = `${messages.count("acknowledged")} messages acknowledged, ${messages.count("unknown")} unknown, ${messages.count("not-applied")} not stored`;
    const effects = `${messages.effects} effects and ${messages.refused} refused`;
    const grants = `${locks.grants} grants, ${locks.writes} writes and ${locks.refused} refused`;
    return `${publishes}; ${effects}; ${grants}; ${counter.count("acknowledged")} commits acknowledged, ${counter.count("unknown")} unknown`;
  }

  get faults(): readonly string[] {
    const ledgers = [this.messages, this.locks, this.counter, this.bareCounter];
    return [...this.#faults, ...ledgers.flatMap((ledger) => ledger.faults)];
  }

  async addProcess(name: string, engine: Engine): Promise<void> {
    const orders = topicOf(engine);
    const handle = async ({ key, number, dueAt = 0 }: Message, { partition, position, fence }: Handled) => {
      const earlyMs = dueAt - engine.world.clock.now();
      if (earlyMs > 0) this.#faults.push(`${key}/${number} came ${earlyMs} ms early`);
      // Some are still running when their lane has passed on.
      if (this.#draw(8) === 0) await sleep(this.#draw(40));
      this.messages.handled({ key, number, partition, position, fence });
    };
    this.#consumers.push(await orders.consume(group, handle, { sessionMs: 1_000, drainTimeoutMs: 2_000 }));
    this.#consumers.push(orders);
    for (let index = 0; index < keysPerProcess; index++) this.#start(() => this.#publish(orders, `${name}-${index}`));
    const { messages, keyValue, leases, world } = engine;
    this.#start(() => this.#delay(engine, orders, `${name}-later`));
    if (leases !== undefined) {
      const locking = { messages, keyValue, leases, world };
      for (const letter of ["a", "b"]) this.#start(() => this.#lock(locking, `${name}-${letter}`));
    }
    this.#start(() => this.#add(engine, name));
    this.#start(() => this.#flag(engine, name));
    this.#mirrors.push(new Mirror(engine, [recordPrefix, flagPrefix][this.#mirrors.length % 2]!));
  }

  #start(act: () => Promise<void>): void {
    const acting = act().catch((error: unknown) => {
      this.#faults.push(`an actor failed: ${error instanceof Error ? error.stack : String(error)}`);
    });
    this.#actors.push(acting);
  }

  /** Actors begin nothing more, however the run went. */
  end(): void {
    this.#stopping = true;
  }

  /** Actors end what they are at, which the end of the storm must let them. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#actors);
    this.#actors = [];
  }

  /** Several messages of a key are under way at a time; which of them share a batch is left to chance. */
  async #publish(orders: Topic<Message>, key: string): Promise<void> {
    let underWay: Promise<void>[] = [];
    for (let number = 0; !this.#stopping; number++) {
      const timeoutMs = this.#draw(10) === 0 ? 300 + this.#draw(500) : 30_000;
      underWay.push(this.#publishOne(orders, { key, number }, { timeoutMs }));
      if (this.#draw(4) > 0) continue;
      await Promise.all(underWay);
      underWay = [];
      await sleep(this.#draw(30));
    }
    await Promise.all(underWay);
  }

  /** Each has a key of its own, as those of one key come in the order in which they are due. */
  async #delay({ world }: Engine, orders: Topic<Message>, prefix: string): Promise<void> {
    for (let number = 0; !this.#stopping; number++) {
      const dueAt = world.clock.now() + this.#draw(1_500);
      await this.#publishOne(orders, { key: `${prefix}-${number}`, number: 0, dueAt }, { dueAt, timeoutMs: 30_000 });
      await sleep(this.#draw(30));
    }
  }

  async #publishOne(orders: Topic<Message>, message: Message, options: PublishOptions): Promise<void> {
    const { key, number } = message;
    this.messages.publishes(key, number);
    try {
      const { partition, position } = await orders.publish(message, { key, ...options });
      this.messages.acknowledged(key, number, partition, position);
    } catch (error) {
      this.#expect(error);
      this.messages.failed(key, number, error);
    }
  }

  async #lock(engine: LockingEngine, holder: string): Promise<void> {
    const till = mutex(engine, "till", { ttlMs: 1_000, waitMs: 4_000, timeoutMs: 2_000 });
    for (let turn = 0; !this.#stopping; turn++) {
      const grantedBefore = this.locks.granted;
      const lock = await this.#tried(() => till.acquire());
      // An engine that is closed refuses at once, and a loop of nothing but refusals would let no timer fire.
      if (lock === undefined) {
        await sleep(this.#draw(20));
        continue;
      }
      const name = `${holder}#${turn}`;
      this.locks.acquired(name, lock.token, grantedBefore);
      this.#believers.set(name, lock);
      await this.#hold(engine, name, lock);
      this.#believers.delete(name);
      await this.#tried(() => lock.release());
      await sleep(this.#draw(20));
    }
  }

  /** Some holders look whether they still hold it, and some do not: then the guards must. */
  async #hold(engine: Engine, name: string, lock: Lock): Promise<void> {
    const careless = this.#draw(3) === 0;
    for (let writes = 1 + this.#draw(4); writes > 0; writes--) {
      if (!careless && lock.signal.aborted) return;
      this.locks.write(name, lock.token, this.#whoBelieves());
      const value = Buffer.from(name);
      const commit = () => fenced(engine.keyValue, "till", lock.token, [{ type: "put", key: "till", value }]);
      const result = await this.#tried(commit);
      if (result?.committed) this.locks.committed(lock.token, result.version);
      await sleep(this.#draw(careless ? 400 : 25));
    }
  }

  #whoBelieves(): string[] {
    const believers: string[] = [];
    for (const [name, lock] of this.#believers) {
      try {
        lock.check();
        believers.push(name);
      } catch {
        // It knows that it has lost it.
      }
    }
    return believers;
  }

  /** Where one commit holds one key only, a record is counted by itself. */
  async #add({ keyValue }: Engine, name: string): Promise<void> {
    const { multipleKeys } = keyValue.capabilities;
    for (let number = 0; !this.#stopping; number++) {
      const operation = `${name}-${String(number).padStart(6, "0")}`;
      const value = Buffer.from(operation);
      const record: KeyValueChange = {
        type: "put",
        key: recordPrefix + operation,
        value,
        condition: { ifAbsent: true },
      };
      const changes: readonly KeyValueChange[] = [{ type: "add", key: counterKey, by: 1 }, record];
      const bare: readonly KeyValueChange[] = [{ type: "add", key: bareCounterKey, by: 1 }];
      await Promise.all([
        this.#count(this.counter, operation, () =>
          multipleKeys ? keyValue.commit(changes) : this.#recorded(keyValue.commit([record])),
        ),
        this.#count(this.bareCounter, operation, () => keyValue.commit(bare)),
      ]);
      await sleep(this.#draw(20));
    }
  }

  async #recorded(commit: ReturnType<Engine["keyValue"]["commit"]>): ReturnType<Engine["keyValue"]["commit"]> {
    const result = await commit;
    return result.committed ? { ...result, counters: [++this.#records] } : result;
  }

  async #count(ledger: CounterLedger, operation: string, commit: () => ReturnType<Engine["keyValue"]["commit"]>) {
    ledger.adds(operation);
    try {
      const result = await commit();
      ledger.added(operation, result.committed ? result.counters[0] : undefined);
    } catch (error) {
      this.#expect(error);
      ledger.failed(operation, error);
    }
  }

  /** Few keys that change and go often, so that what a watch must not miss is at its end. */
  async #flag({ keyValue }: Engine, name: string): Promise<void> {
    for (let number = 0; !this.#stopping; number++) {
      const key = `${flagPrefix}${name}-${this.#draw(5)}`;
      const change: KeyValueChange =
        this.#draw(3) === 0 ? { type: "delete", key } : { type: "put", key, value: Buffer.from(String(number)) };
      await this.#tried(() => keyValue.commit([change]));
      await sleep(this.#draw(15));
    }
  }

  async #tried<T>(action: () => Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      this.#expect(error);
      return undefined;
    }
  }

  #expect(error: unknown): void {
    if (error instanceof TenonError && expectedCodes.has(error.code)) return;
    this.#faults.push(`unexpected: ${error instanceof Error ? error.stack : String(error)}`);
  }

  /** After the storm: everything comes in, and what is there at the end is what everybody was told. `auditor` has seen no storm. */
  async settle(auditor: Engine): Promise<void> {
    const orders = topicOf(auditor);
    for (;;) {
      // First, as what becomes due meanwhile counts below.
      const { delayedCount } = await auditor.messages.describe(topicName);
      const { messages, held, deadLetters } = await orders.lag(group);
      if (deadLetters > 0) this.#faults.push(`${deadLetters} dead letters`);
      // One that is settled and was not handled would be waited for in vain.
      if (delayedCount === 0 && messages === 0 && held === 0) break;
      await sleep(20);
    }
    const { keyValue } = auditor;
    const records = await contentOf(keyValue, recordPrefix);
    const operations = new Set([...records.keys()].map((key) => key.slice(recordPrefix.length)));
    const [recorded, bare] = (await keyValue.get([counterKey, bareCounterKey])).map((entry) =>
      entry === undefined ? 0 : Number(Buffer.from(entry.value)),
    );
    this.counter.check(keyValue.capabilities.multipleKeys ? recorded! : operations.size, operations);
    this.bareCounter.checkBounds(bare!);
    for (const mirror of this.#mirrors) await mirror.shows(await contentOf(keyValue, mirror.prefix));
    this.#faults.push(...this.#mirrors.flatMap(({ faults }) => faults));
    this.messages.check();
    this.locks.check();
    await orders.close();
  }

  async close(): Promise<void> {
    this.#stopping = true;
    for (const mirror of this.#mirrors) await mirror.end();
    await Promise.all(this.#consumers.map((each) => each[Symbol.asyncDispose]()));
  }
}

interface Handled {
  readonly partition: number;
  readonly position: bigint;
  readonly fence: bigint;
}

function topicOf(engine: Engine): Topic<Message> {
  return topic(engine, topicName, { codec: json<Message>(), partitions: 3, groups: [group] });
}

async function contentOf(keyValue: Engine["keyValue"], prefix: string): Promise<Map<string, string>> {
  const content = new Map<string, string>();
  for (let after: string | undefined; ; ) {
    const entries = await keyValue.scan(prefix, { limit: 1_000, after });
    for (const { key, value } of entries) content.set(key, Buffer.from(value).toString());
    if (entries.length < 1_000) return content;
    after = entries.at(-1)!.key;
  }
}

/** What a watch has made of the keys so far. */
class Mirror {
  readonly prefix: string;
  readonly faults: string[] = [];
  readonly #state = new Map<string, string>();
  readonly #versions = new Map<string, bigint>();
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #wake: (() => void) | undefined;

  constructor({ keyValue }: Engine, prefix: string) {
    this.prefix = prefix;
    this.#ended = this.#follow(keyValue.watch(prefix, { signal: this.#stop.signal })).catch((error: unknown) => {
      this.faults.push(`the watch failed: ${error}`);
      this.#wake?.();
    });
  }

  async #follow(events: AsyncIterable<WatchEvent>): Promise<void> {
    for await (const event of events) {
      this.#take(event);
      this.#wake?.();
    }
  }

  #take(event: WatchEvent): void {
    if (event.type === "synced") return;
    const { key, version } = event.type === "put" ? event.entry : event;
    const before = this.#versions.get(key) ?? 0n;
    if (version < before) this.faults.push(`the watch showed version ${version} of ${key} after ${before}`);
    this.#versions.set(key, version);
    if (event.type === "put") this.#state.set(key, Buffer.from(event.entry.value).toString());
    else this.#state.delete(key);
  }

  /** Waits until it does. */
  async shows(expected: ReadonlyMap<string, string>): Promise<void> {
    const matches = () =>
      this.#state.size === expected.size && [...expected].every(([key, value]) => this.#state.get(key) === value);
    while (!matches() && this.faults.length === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    if (this.faults.length === 0) assert.ok(matches());
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#ended;
  }
}
