import { TenonError } from "../../../src/contracts/errors.ts";
import type { MessageEngine, TopicDescription } from "../../../src/contracts/messages.ts";
import {
  type BatchMessage,
  type Consumer,
  DeadLetter,
  json,
  type Loss,
  type MessageContext,
  type Topic,
  topic,
  type Verdict,
  verdict,
} from "../../../src/messaging/index.ts";
import {
  checkMessaging,
  type MessagingExpectations,
  MessagingHistory,
  type ProcessContext,
  recordedMessages,
  recordingInterceptor,
  type SimulatedSystem,
  Violation,
} from "../../../src/simulation/index.ts";
import type { World } from "../../../src/world/world.ts";
import { handlingOf, type Note, optionsOf } from "./notes.ts";
import { drawSetup, groups, type MessagingSetup, topicName } from "./setup.ts";

/** An engine as one process sees it. */
export interface Seen {
  readonly process: ProcessContext;
  readonly engine: { readonly messages: MessageEngine; readonly world: World };
}

/** So many messages are published when everything is healed. */
const lastCount = 10;

/** What publishers and consumers do, whatever the engine is and however the processes are laid out. It survives their crashes. */
export class MessagingWorkload {
  readonly setup: MessagingSetup;
  readonly history: MessagingHistory;
  readonly #system: SimulatedSystem;
  readonly #safetyMs: number;
  readonly #findings: string[] = [];
  /** Publishers that have published their last, by process. */
  readonly #done = new Set<string>();
  readonly #clocks: { readonly now: number }[] = [];
  #numbers = 0;
  #members = 0;
  #seeksLeft: number;

  constructor(
    system: SimulatedSystem,
    safetyMs: number,
    engineClock: () => { readonly now: number },
    otherwise: Partial<MessagingSetup> = {},
  ) {
    this.#system = system;
    this.#safetyMs = safetyMs;
    this.setup = { ...drawSetup(system.random), ...otherwise };
    this.#seeksLeft = this.setup.seeks;
    this.history = new MessagingHistory({
      nowMs: () => system.nowMs,
      engineNowMs: () => engineClock().now,
      memberNowMs: [() => this.#latestClockMs()],
    });
  }

  /** They are read after every event, and asking a process for its clock makes an object. */
  #latestClockMs(): number {
    const { processes } = this.#system;
    while (this.#clocks.length < processes.length) this.#clocks.push(processes[this.#clocks.length]!.clock);
    return this.#clocks.reduce((latest, { now }) => Math.max(latest, now), 0);
  }

  /** Does the work while everything is looked at. */
  async during(work: () => Promise<void>): Promise<void> {
    let over = false;
    const watched = this.#system.until("the workload is over", () => {
      // After every event: nothing else sees a clock that jumps there and back.
      this.history.look();
      if (this.#findings[0] !== undefined) throw new Violation(this.#findings[0]);
      return over;
    });
    const done = work().then(() => {
      over = true;
    });
    await Promise.race([done, watched]);
  }

  /** What an engine may not say, however often it is struck. */
  foundIfCorrupt(error: unknown): void {
    if (error instanceof TenonError && error.code === "corrupt") this.found(`opening was refused: ${error.message}`);
  }

  /** A mistake that was seen by itself, apart from the history. */
  found(sentence: string): void {
    this.#findings.push(sentence);
  }

  get #isOver(): boolean {
    return this.#system.phase === "liveness";
  }

  topic({ engine, process }: Seen, name: string): Topic<Note> {
    const { publishing, partitions, whenExpired, lossDetection } = this.setup;
    const { world } = process;
    const nowMs = (): number => world.clock.now();
    const numberOf = ({ number }: Note): number => number;
    const label = `${process.name}#${process.incarnation} ${name}`;
    const onLoss = (loss: Loss): void =>
      this.found(`a false alarm of the loss detector: ${JSON.stringify(loss, textOf)}`);
    return topic<Note>({ messages: recordedMessages(engine.messages, this.history), world }, topicName, {
      codec: json<Note>(),
      partitions,
      groups,
      whenExpired,
      retentionMs: 365 * 24 * 3_600_000,
      ...(lossDetection && { lossDetection: { graceMs: 500, onLoss } }),
      publishTimeoutMs: publishing.publishTimeoutMs,
      bufferBytesMax: publishing.bufferBytesMax,
      batchCountMax: publishing.batchCountMax,
      interceptors: [recordingInterceptor({ history: this.history, name: label, numberOf, nowMs })],
    });
  }

  // Publishing ----------------------------------------------------------------------------------------------------------

  /** Publishes while faults strike, one of `publishers` that do; and a few more when everything is healed. */
  async publish(seen: Seen, publishers: number): Promise<void> {
    if (this.#done.has(seen.process.name)) return;
    const notes = this.topic(seen, "publisher");
    const failed = Promise.withResolvers<never>();
    await Promise.race([failed.promise, this.#publishAll(notes, seen.process.world, publishers, failed.reject)]);
    await notes.close();
    this.#done.add(seen.process.name);
  }

  async #publishAll(
    notes: Topic<Note>,
    world: World,
    publishers: number,
    failed: (error: unknown) => void,
  ): Promise<void> {
    const { count, underWayMax } = this.setup.publishing;
    const gapMs = (this.#safetyMs / count) * publishers;
    let underWay = 0;
    const start = (): void => {
      underWay += 1;
      this.#publishOne(notes, world).then(() => {
        underWay -= 1;
      }, failed);
    };
    while (!this.#isOver) {
      await world.timers.sleep(2 * gapMs * world.random.float());
      if (underWay < underWayMax) start();
      // Bursts share batches.
      while (underWay < underWayMax && world.random.float() < 0.3) start();
    }
    while (underWay > 0) await world.timers.sleep(100);
    for (let number = 0; number < lastCount; number += 1) await this.#publishOne(notes, world);
  }

  async #publishOne(notes: Topic<Note>, world: World): Promise<void> {
    this.#numbers += 1;
    const number = this.#numbers;
    const options = optionsOf(this.#system.seed, number, this.setup);
    for (let call = 1; ; call += 1) {
      try {
        await notes.publish({ number }, options);
        return;
      } catch (error) {
        if (!(error instanceof TenonError)) return this.found(`publishing rejected with ${String(error)}`);
        if (error.code === "closed") throw error;
        if (["conflict", "invalid", "denied"].includes(error.code))
          this.found(`publishing was refused: ${error.message}`);
        // Nothing more of it is known; only some publishers take the risk of a duplicate.
        if (
          error.outcome === "unknown" &&
          options.id === undefined &&
          world.random.float() > this.setup.publishing.againShare
        )
          return;
        if (call >= 5 && this.#system.phase === "safety") return;
        await world.timers.sleep(world.random.float() * 500);
      }
    }
  }

  // Consuming -----------------------------------------------------------------------------------------------------------

  /** Members of the group come and go in this process; when everything is healed, the last one stays. Ends by a rejection only. */
  async consume(seen: Seen, group: string, crash: () => void): Promise<never> {
    const { timers, random } = seen.process.world;
    const failed = Promise.withResolvers<never>();
    let member = await this.#join(seen, group, crash, failed.reject);
    const comeAndGo = async (): Promise<never> => {
      for (;;) {
        await timers.sleep(this.setup.memberMs * (0.5 + random.float()));
        if (this.#isOver) continue;
        if (random.float() < 0.3) await this.#pauseOne(member, seen.process.world);
        const overlap = random.float() < 0.5;
        const next = overlap ? await this.#join(seen, group, crash, failed.reject) : undefined;
        await member.close();
        member = next ?? (await this.#join(seen, group, crash, failed.reject));
      }
    };
    return await Promise.race([failed.promise, comeAndGo()]);
  }

  async #pauseOne(member: Consumer, { timers, random }: World): Promise<void> {
    member.pause(random.float() < 0.5 ? undefined : [0]);
    await timers.sleep(random.float() * 1_000);
    member.resume();
  }

  async #join(seen: Seen, group: string, crash: () => void, failed: (error: unknown) => void): Promise<Consumer> {
    this.#members += 1;
    const notes = this.topic(seen, `member-${this.#members}`);
    const { consuming } = this.setup;
    const { world } = seen.process;
    const { batchCountMax, batchWaitMs, ...options } = consuming;
    const handle = this.#handlerOf(world, group, crash);
    const member = await (world.random.float() < 0.5
      ? notes.consume(group, handle, options)
      : notes.consumeBatch(group, batchHandlerOf(handle), { ...options, batchCountMax, batchWaitMs }));
    // A member that ended by itself ends its process, which starts anew.
    member.closed.catch(failed);
    return member;
  }

  #handlerOf(world: World, group: string, crash: () => void): (note: Note, context: MessageContext) => Promise<void> {
    const { setup } = this;
    const { handlerTimeoutMs, abandonAfterMs } = setup.consuming;
    return async ({ number }, { attempt }) => {
      const { failures, fate, sleepMs, hangs } = handlingOf(this.#system.seed, number, group, setup);
      if (hangs && attempt === 1) await world.timers.sleep(2 * (handlerTimeoutMs + abandonAfterMs));
      if (sleepMs > 0) await world.timers.sleep(sleepMs);
      if (attempt <= failures) throw new Error(`note ${number} fails for ${group} the ${attempt}. time`);
      if (fate === "crash" && !this.#isOver) crash();
      if (fate === "dead letter") throw new DeadLetter(`note ${number} is nothing for ${group}`);
    };
  }

  // Looking and moving --------------------------------------------------------------------------------------------------

  /** Looks at the topic now and then, and sometimes moves a group. */
  async watch(seen: Seen): Promise<never> {
    const { timers, random } = seen.process.world;
    const notes = this.topic(seen, "watcher");
    for (;;) {
      await timers.sleep(random.float() * 4_000);
      try {
        if (this.#seeksLeft > 0 && !this.#isOver && random.float() < 0.1) await this.#seek(notes, random);
        else await this.#describe(notes);
      } catch (error) {
        if (!(error instanceof TenonError) || error.code === "closed") throw error;
      }
    }
  }

  async #describe(notes: Topic<Note>): Promise<TopicDescription> {
    const called = this.history.moment();
    const description = await notes.describe();
    this.history.described(called, description);
    return description;
  }

  async #seek(notes: Topic<Note>, random: World["random"]): Promise<void> {
    this.#seeksLeft -= 1;
    const group = groups[Math.floor(random.float() * groups.length)]!;
    const { partitions } = await this.#describe(notes);
    const positions = new Map<number, bigint>();
    for (const [partition, { next }] of partitions.entries()) {
      if (random.float() < 0.7) positions.set(partition, BigInt(Math.floor(random.float() * Number(next))));
    }
    const draw = random.float();
    const to = draw < 0.1 ? "now" : draw < 0.4 ? "earliest" : { positions };
    const call = this.history.seek(topicName, group, to);
    try {
      await notes.seek(group, to);
      call.acknowledged();
    } catch (error) {
      call.failed(error);
      throw error;
    }
    // What the seek could go back to, before more of it is removed.
    await this.#describe(notes);
  }

  // The end -------------------------------------------------------------------------------------------------------------

  /**
   * Sets every clock to the same time, at which all is due: messages may have been delayed, and retries put off, by a clock that was hours ahead.
   */
  setClocks(): void {
    const { processes } = this.#system;
    const due = this.history.publishes.map(({ dueAt }) => dueAt ?? 0);
    const time = Math.max(...due, ...processes.map(({ clock }) => clock.now)) + 10_000;
    for (const { clock } of processes) clock.step(time - clock.now);
  }

  /** Waits, in a process that nothing strikes any more, until nothing is left to be done, and writes down how the groups stand. */
  async rest(seen: Seen, publishers: number): Promise<void> {
    const { timers } = seen.process.world;
    const notes = this.topic(seen, "auditor");
    await this.#again(timers, () => this.#describe(notes));
    while (!(await this.#isAtRest(notes, publishers))) await timers.sleep(200);
    for (const group of groups) {
      const letters = await notes.deadLetters(group).peek(10_000);
      const lag = (await notes.lag(group)).messages;
      const deadLetters = letters.map((letter) => ({ ...letter, number: letter.value?.number ?? -1 }));
      this.history.atRest({ topic: topicName, group, lag, deadLetters });
    }
    await this.#describe(notes);
    await notes.close();
  }

  async #again(timers: World["timers"], work: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await work();
        return;
      } catch (error) {
        if (!(error instanceof TenonError)) throw error;
        await timers.sleep(100);
      }
    }
  }

  async #isAtRest(notes: Topic<Note>, publishers: number): Promise<boolean> {
    if (this.#done.size < publishers || (await notes.describe()).delayedCount > 0) return false;
    for (const group of groups) if ((await notes.lag(group)).messages > 0) return false;
    return true;
  }

  check(more: Partial<MessagingExpectations> = {}): void {
    const { consuming, whenExpired } = this.setup;
    checkMessaging(this.history, {
      topic: topicName,
      groups,
      whenExpired,
      attemptsMax: consuming.retry.attemptsMax,
      abandonedAfterMs: consuming.handlerTimeoutMs + consuming.abandonAfterMs,
      ...more,
    });
  }
}

/** Handles one after the other, stops with a key at its first failure, and answers for each. */
function batchHandlerOf(
  handle: (note: Note, context: MessageContext) => Promise<void>,
): (messages: readonly BatchMessage<Note>[]) => Promise<readonly Verdict[]> {
  return async (messages) => {
    const failed = new Set<string>();
    const verdicts: Verdict[] = [];
    for (const message of messages) {
      const key = message.key === undefined ? undefined : `${message.partition}/${message.key}`;
      if (key !== undefined && failed.has(key)) {
        verdicts.push(verdict.retry("an earlier one of its key has failed"));
        continue;
      }
      try {
        await handle(message.value, message);
        verdicts.push(verdict.settle);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        verdicts.push(error instanceof DeadLetter ? verdict.deadLetter(reason) : verdict.retry(reason));
        if (!(error instanceof DeadLetter) && key !== undefined) failed.add(key);
      }
    }
    return verdicts;
  };
}

function textOf(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
