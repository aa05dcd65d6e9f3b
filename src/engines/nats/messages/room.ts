import type { World } from "../../../world/world.ts";
import type { BatchRefusal } from "../../lanes/batches.ts";
import { evictionOf } from "../../lanes/eviction.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";
import { type StateStore, valueNames } from "../state-store.ts";
import type { DelayStore } from "./delay-store.ts";
import type { LaneValues } from "./lane-values.ts";
import { compareKeys } from "./partition-head.ts";
import type { TopicRecord } from "./topic-record.ts";
import { partitionsOf, type Topic, type Topics } from "./topics.ts";

export interface RoomParts {
  readonly world: World;
  readonly state: StateStore;
  readonly delays: DelayStore;
  readonly lanes: LaneValues;
}

/** An append that its publisher was about to make: so many messages, upon the run with this sequence. */
interface Intent {
  readonly partition: number;
  readonly sequence: number;
  readonly count: number;
}

/** How many messages the topic ever took, delayed ones included, and who appends now. */
interface Account {
  readonly taken: number;
  readonly intent: Intent | undefined;
  readonly revision: number;
}

const format = 1;
/** Another publisher's append may take so long before it is kept from coming about; it is looked at so often. */
const patienceMs = 300;
const lookMs = 10;

/** Who may append: `token` goes with the run, and says that it is the one that was meant. */
export type Admission = { readonly token: number } | BatchRefusal;

/**
 * The room in topics with a `countMax`. Partitions are appended to one by one, and no change of the server spans two of them; so whoever appends to a limited topic first writes down what it is about to append, in one
 * value for the whole topic. Who comes next counts it if it came about, and where it is still open waits a moment and then keeps it from coming about, by putting an empty run in its place. So at any moment at most
 * one append of the topic is open, and the count is exact.
 */
export class Room {
  readonly #parts: RoomParts;
  readonly #topics: () => Topics;
  readonly #turns = new Map<number, Promise<unknown>>();

  constructor(parts: RoomParts, topics: () => Topics) {
    this.#parts = parts;
    this.#topics = topics;
  }

  /** What appends to a limited topic from here goes one after the other: the account would turn back the rest. */
  inTurn<T>(topic: number, work: () => Promise<T>): Promise<T> {
    const done = (this.#turns.get(topic) ?? Promise.resolve()).then(work);
    const turn = done
      .catch(() => undefined)
      .then(() => {
        if (this.#turns.get(topic) === turn) this.#turns.delete(topic);
      });
    this.#turns.set(topic, turn);
    return done;
  }

  /** Makes room for so many messages upon a run, or refuses them; `undefined` when the topic is gone. */
  async admit(topic: Topic, intent: Intent): Promise<Admission | undefined> {
    for (;;) {
      const found = await this.#topics().places.recordOf(topic);
      if (found === undefined) return undefined;
      const account = await this.#settledAccount(topic);
      if (account === undefined) return undefined;
      const refused = await this.#makeRoom(topic, found.record, account.taken, intent.count);
      if (refused !== undefined) return refused;
      const token = await this.#write(topic, { taken: account.taken, intent }, account.revision);
      if (token !== undefined) return { token };
    }
  }

  // The account --------------------------------------------------------------------------------------------------------

  /** With nothing open. Made when it is not there. */
  async #settledAccount(topic: Topic): Promise<Account | undefined> {
    const account = await this.#read(topic);
    if (account === undefined) return this.#make(topic);
    const { intent, taken, revision } = account;
    if (intent === undefined) return account;
    const came = await this.#hasCome(topic, intent, revision);
    if (came === undefined) return undefined;
    return { taken: came ? taken + intent.count : taken, intent: undefined, revision };
  }

  /** Whether the append came about; if it is open it is decided here. `undefined` when the topic is gone. */
  async #hasCome(topic: Topic, { partition, sequence }: Intent, token: number): Promise<boolean | undefined> {
    const { world } = this.#parts;
    const chain = topic.chain(partition);
    const deadline = world.clock.monotonic() + patienceMs;
    for (;;) {
      const last = await chain.look();
      if (last === undefined) return undefined;
      // Nothing else was admitted since.
      if (last.sequence > sequence) return last.head.token === token;
      if (world.clock.monotonic() >= deadline) await chain.interpose(last);
      else await world.timers.sleep(lookMs);
    }
  }

  /** Everybody has to know by now that the topic is limited: until there is an account nobody appends to it. */
  async #make(topic: Topic): Promise<Account | undefined> {
    if (!(await this.limit(topic))) return undefined;
    let taken = 0;
    for (let partition = 0; partition < topic.partitions; partition++) {
      const count = await this.#takenBy(topic, partition);
      if (count === undefined) return undefined;
      taken += count.next + count.delayed;
    }
    const revision = await this.#write(topic, { taken, intent: undefined }, 0);
    return revision === undefined ? this.#settledAccount(topic) : { taken, intent: undefined, revision };
  }

  /** Tells every partition that it is limited, so that whoever appends hears of it. `false` when the topic is gone. */
  async limit(topic: Topic): Promise<boolean> {
    for (let partition = 0; partition < topic.partitions; partition++) {
      const chain = topic.chain(partition);
      for (;;) {
        const last = await chain.look();
        if (last === undefined) return false;
        if (last.head.limited || (await chain.interpose(last, { limited: true }))) break;
      }
    }
    return true;
  }

  async #takenBy(
    topic: Topic,
    partition: number,
  ): Promise<{ readonly next: number; readonly delayed: number } | undefined> {
    for (;;) {
      const before = await topic.chain(partition).look();
      if (before === undefined) return undefined;
      const { head, sequence } = before;
      const keys = head.dueAt < 0 ? [] : await this.#parts.delays.keys(topic.id, partition);
      // What is due may have been appended, and removed there, between the two looks.
      if ((await topic.chain(partition).look())?.sequence !== sequence) continue;
      const kept = keys.filter((key) => compareKeys(key, head.released) > 0 && key.sequence !== sequence);
      return { next: head.first + head.count, delayed: kept.length + head.later.length };
    }
  }

  async #read(topic: Topic): Promise<Account | undefined> {
    const value = await this.#parts.state.read("counting messages", valueNames.account(topic.id));
    if (value === undefined) return undefined;
    const reader = new ByteReader(value.bytes, "the account of a topic");
    if (reader.u8() !== format) throw reader.corrupt();
    const taken = reader.whole();
    const isOpen = reader.u8() === 1;
    const intent = isOpen ? { partition: reader.whole(), sequence: reader.whole(), count: reader.whole() } : undefined;
    reader.end();
    return { taken, intent, revision: value.revision };
  }

  #write(topic: Topic, { taken, intent }: Omit<Account, "revision">, revision: number): Promise<number | undefined> {
    const writer = new ByteWriter()
      .u8(format)
      .whole(taken)
      .u8(intent === undefined ? 0 : 1);
    if (intent !== undefined) writer.whole(intent.partition).whole(intent.sequence).whole(intent.count);
    return this.#parts.state.write("counting messages", valueNames.account(topic.id), writer.done(), revision);
  }

  // Room ---------------------------------------------------------------------------------------------------------------

  async #makeRoom(topic: Topic, record: TopicRecord, taken: number, fresh: number): Promise<BatchRefusal | undefined> {
    const { countMax, groups } = record;
    if (countMax === undefined) return undefined;
    const lows = await this.#lows(topic, groups);
    let used = taken - lows.reduce((sum, low) => sum + low, 0);
    // Without groups nothing waits to be settled.
    if (groups.length > 0 && used + fresh <= countMax) return undefined;
    const nexts: number[] = [];
    for (let partition = 0; partition < topic.partitions; partition++) {
      const last = await topic.chain(partition).look();
      nexts.push(last === undefined ? 0 : last.head.first + last.head.count);
    }
    const delayed = taken - nexts.reduce((sum, next) => sum + next, 0);
    if (groups.length === 0) used = delayed;
    if (used + fresh <= countMax) return undefined;
    if (record.whenFull !== "evict" || delayed + fresh > countMax) return { refused: "full", countMax, count: used };
    const kept = nexts.map((next, partition) => ({ partition, low: lows[partition]!, size: next - lows[partition]! }));
    await Promise.all(
      evictionOf(kept, used + fresh - countMax).flatMap(({ partition, below }) =>
        groups.map(({ id }) =>
          this.#parts.lanes.change(topic.id, id, partition, ({ state: { progress } }) => {
            if (progress.low >= below) return false;
            progress.settleBelow(below);
            return true;
          }),
        ),
      ),
    );
    return undefined;
  }

  /** Of each partition, what the slowest group has settled. */
  async #lows(topic: Topic, groups: readonly { readonly id: number }[]): Promise<readonly number[]> {
    const partitions = partitionsOf(topic);
    return Promise.all(
      partitions.map(async (partition) => {
        const read = await Promise.all(groups.map(({ id }) => this.#parts.lanes.read(topic.id, id, partition)));
        const lows = read.flatMap((lane) => (lane === undefined ? [] : [lane.value.state.progress.low]));
        return lows.length === 0 ? 0 : Math.min(...lows);
      }),
    );
  }
}
