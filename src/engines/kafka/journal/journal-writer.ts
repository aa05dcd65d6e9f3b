import { TenonError } from "../../../contracts/errors.ts";
import type { Cancel, World } from "../../../world/world.ts";
import type { NewKafkaRecord } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { closed, failureOf, overdue, unreachable } from "../failures.ts";
import { produce } from "../requests.ts";
import { type Command, encodeCommand } from "./commands.ts";
import type { Results } from "./results.ts";

const countMax = 500;
const bytesMax = 1024 * 1024;

interface Pending {
  readonly id: string;
  readonly bytes: Buffer;
  readonly what: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  timer: Cancel;
}

/** Writes commands to the journal, one request after the other, and knows whom to answer when they come back. */
export class JournalWriter {
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #topic: string;
  /** Begins the ids of this engine's commands. */
  readonly #own: string;
  /** Under way, by id. */
  readonly #pending = new Map<string, Pending>();
  readonly #queue: Pending[] = [];
  #count = 0;
  #draining = false;
  #ended: TenonError | undefined;

  constructor(cluster: Cluster, topic: string) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#topic = topic;
    this.#own = `${cluster.world.random.uuid().slice(0, 13)}/`;
  }

  newId(): string {
    return this.#own + (this.#count++).toString(36);
  }

  isOwn(id: string): boolean {
    return id.startsWith(this.#own);
  }

  /** Resolves with what `answer` is told for it. When that does not come, nobody knows. */
  submit<Kind extends Command["kind"]>(
    command: Extract<Command, { kind: Kind }>,
    what: string,
  ): Promise<Results[Kind]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise<unknown>((resolve, reject) => {
      const id = this.newId();
      const bytes = encodeCommand({ id, command });
      const pending: Pending = { id, bytes, what, resolve, reject, timer: () => undefined };
      const { commandTimeoutMs } = this.#cluster;
      pending.timer = this.#world.timers.schedule(commandTimeoutMs, () => {
        const index = this.#queue.indexOf(pending);
        if (index < 0) return;
        this.#queue.splice(index, 1);
        reject(unreachable(what, commandTimeoutMs, this.#cluster.trouble));
      });
      this.#queue.push(pending);
      if (!this.#draining) void this.#drain();
    }) as Promise<Results[Kind]>;
  }

  /** A command has come back, and this is what it came to. */
  answer(id: string, result: unknown): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    pending.timer();
    pending.resolve(result);
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    // What is written within the same turn goes out together.
    await undefined;
    while (this.#queue.length > 0) await this.#write(this.#take());
    this.#draining = false;
  }

  #take(): Pending[] {
    let count = 0;
    let bytes = 0;
    for (; count < this.#queue.length && count < countMax; count++) {
      bytes += this.#queue[count]!.bytes.length;
      if (count > 0 && bytes > bytesMax) break;
    }
    return this.#queue.splice(0, count);
  }

  async #write(taken: readonly Pending[]): Promise<void> {
    for (const pending of taken) this.#pending.set(pending.id, pending);
    let failure: TenonError | undefined;
    try {
      await this.produce(taken.map(({ bytes }) => ({ value: bytes })));
    } catch (error) {
      failure = failureOf(error, "a record of the journal", "unknown");
    }
    for (const pending of taken) {
      if (failure?.outcome === "not-applied") this.#settle(pending, failure);
      else if (this.#pending.has(pending.id)) this.#expect(pending, failure);
    }
  }

  /** What was written comes back soon, and what perhaps was comes soon or never. */
  #expect(pending: Pending, failure: TenonError | undefined): void {
    const { commandTimeoutMs } = this.#cluster;
    pending.timer();
    pending.timer = this.#world.timers.schedule(commandTimeoutMs, () =>
      this.#settle(pending, failure ?? overdue(pending.what, commandTimeoutMs, "unknown")),
    );
  }

  #settle(pending: Pending, error: TenonError): void {
    pending.timer();
    if (!this.#pending.delete(pending.id)) return;
    const { code, outcome, fields, cause } = error;
    const text =
      code === "unavailable" && outcome === "unknown"
        ? `Kafka did not confirm ${pending.what}. It may have happened; look, or repeat it where that is safe.`
        : error.message;
    pending.reject(new TenonError(code, text, { outcome, fields, cause }));
  }

  /** Appends records as one batch. */
  produce(records: readonly Pick<NewKafkaRecord, "key" | "value">[]): Promise<number> {
    const { client, commandTimeoutMs } = this.#cluster;
    const asked = { what: "a record of the journal", outcome: "unknown" } as const;
    // The client changes what it is given, so that each try needs its own.
    return this.#cluster.leader(asked, this.#topic, 0, (connection) => {
      const placed = records.map((record) => ({ ...record, topic: this.#topic, partition: 0 }));
      return produce(client, connection, commandTimeoutMs, placed);
    });
  }

  /** Nothing is written any more; whoever waits is told why. */
  fail(error: TenonError): void {
    this.#ended ??= error;
    for (const pending of [...this.#pending.values()]) this.#settle(pending, error);
    for (const pending of this.#queue.splice(0)) {
      pending.timer();
      pending.reject(error);
    }
  }

  close(): void {
    this.#ended ??= closed("an operation");
    for (const pending of [...this.#pending.values()]) this.#settle(pending, closed(pending.what, "unknown"));
    for (const pending of this.#queue.splice(0)) {
      pending.timer();
      pending.reject(closed(pending.what));
    }
  }
}
