import { isCode, TenonError } from "../contracts/errors.ts";
import type { SeekTarget, TopicDescription } from "../contracts/messages.ts";
import { copyOf } from "./copies.ts";
import { groupOf, hasReached } from "./descriptions.ts";
import type { MessagingEngine } from "./engines.ts";
import { mayPass } from "./failures.ts";
import { type JoinedSignal, joinedSignal } from "./joined-signal.ts";
import { type MoveNote, type MoveStage, moveNote, readMoveNote } from "./move-note.ts";
import { ProgressTransfer } from "./progress-transfer.ts";
import { repeating } from "./repeating.ts";
import { moveGroup, TopicCopier } from "./topic-copier.ts";

export interface MoveProgress {
  readonly topic: string;
  /** `"copying"`: publishers and consumers are where they were. `"forwarding"`: all have moved; delayed messages follow as they fall due. */
  readonly stage: "copying" | MoveStage | "forwarding";
  /** How many messages this run has copied. */
  readonly copiedCount: number;
  /** How many are still to be copied. */
  readonly lag: number;
  /** How many wait for their instant on the engine that is left. */
  readonly delayedCount: number;
  /** The group whose members have not left yet, while that is waited for. */
  readonly waitsFor?: { readonly group: string; readonly members: number } | undefined;
}

export interface TopicMoveParts {
  readonly from: MessagingEngine;
  readonly to: MessagingEngine;
  readonly topic: string;
  readonly lagMax: number;
  readonly pollMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: MoveProgress) => void;
}

/** The move of one topic, from wherever a former one stopped. */
export class TopicMove {
  readonly #parts: TopicMoveParts;
  readonly #copier: TopicCopier;
  readonly #partitions: number;
  /** Ends with the caller's signal, and when the copier has failed. */
  readonly #run: JoinedSignal;
  #isResumed: boolean;
  #stage: MoveProgress["stage"];

  private constructor(parts: TopicMoveParts, { partitions, groups, sealed }: TopicDescription) {
    const { from, to, topic, signal } = parts;
    this.#parts = parts;
    this.#partitions = partitions.length;
    this.#isResumed = groups.some(({ group }) => group === moveGroup);
    this.#stage = readMoveNote(sealed)?.stage ?? "copying";
    this.#run = joinedSignal(signal);
    this.#copier = new TopicCopier({
      ...{ from, to, topic, partitions: partitions.length, group: moveGroup, target: topic, copyOf },
      isForwarding: () => this.#stage !== "copying" && this.#stage !== "closing",
      signal: this.#run.signal,
      failed: (error) => this.#run.abort(error),
    });
  }

  static async begun(parts: TopicMoveParts): Promise<TopicMove> {
    const { from, topic } = parts;
    const description = await from.messages.describe(topic);
    const { sealed } = description;
    if (sealed !== undefined && readMoveNote(sealed) === undefined) {
      const text = `topic ${topic} is sealed for another reason (${sealed}); open it by declaring it with sealed: "" first`;
      throw new TenonError("denied", text, { fields: { topic, sealed } });
    }
    return new TopicMove(parts, description);
  }

  get copiedCount(): number {
    return this.#copier.count;
  }

  /** Copies the topic and switches publishers and consumers over. */
  async switchOver(): Promise<void> {
    if (this.#stage === "moved") {
      if (this.#isResumed) await this.#copier.start();
      return;
    }
    this.#tell(0, 0);
    await this.#prepareTarget();
    if (this.#stage === "copied") this.#copier.endIndex();
    await this.#copier.start(await this.#beginning());
    this.#isResumed = true;
    if (this.#stage === "copying") await this.#copyNearly();
    if (this.#stage === "closing") await this.#copyRest();
    const fence = await this.#carryGroups();
    await this.#finishTarget();
    await this.#seal({ stage: "moved", fence });
  }

  /** Forwards delayed messages until there are none. */
  async forward(): Promise<void> {
    // A former run has come to the end.
    if (!this.#isResumed) return;
    this.#stage = "forwarding";
    for (;;) {
      const { lag, delayedCount } = await this.#left();
      if (lag + delayedCount === 0) break;
      await this.#pause();
    }
    await this.stop();
    const { from, topic } = this.#parts;
    await from.messages.removeGroup(topic, moveGroup).catch((error: unknown) => {
      if (!isCode(error, "not-found")) throw error;
    });
  }

  async stop(): Promise<void> {
    this.#run[Symbol.dispose]();
    await this.#copier.stop();
  }

  /** The topic, and those groups from which nothing may be missing. */
  async #prepareTarget(): Promise<void> {
    const { from, to, topic } = this.#parts;
    const isThere = (await to.messages.topics()).includes(topic);
    if (!isThere) await this.#beginAnew();
    else if (!this.#isResumed) await this.#refuseUsed();
    const { retentionMs } = await from.messages.describe(topic);
    const isBegun = isThere && this.#isResumed;
    const groups = isBegun ? [] : await this.#groups();
    await to.messages.declare(topic, { partitions: this.#partitions, groups, retentionMs });
    if (isBegun) await this.#declareLateGroups();
  }

  /** What is only kept counts as unsettled again for a group that begins with it: where there is a limit, the copies begin with what others have not settled. */
  async #beginning(): Promise<SeekTarget> {
    const { countMax, groups, partitions } = await this.#describe();
    if (countMax === undefined) return "earliest";
    const lasting = groups.filter(({ group, ephemeral }) => group !== moveGroup && !ephemeral);
    const positions = partitions.map(({ next }, partition) =>
      lasting.reduce((lowest, { lanes }) => (lanes[partition]!.low < lowest ? lanes[partition]!.low : lowest), next),
    );
    return { positions: new Map(positions.entries()) };
  }

  /** What a former run had copied was removed. */
  async #beginAnew(): Promise<void> {
    const { from, topic } = this.#parts;
    if (this.#stage === "copied") {
      const text = `topic ${topic} was removed on the other engine after publishers had gone there; it cannot be moved any more`;
      throw new TenonError("conflict", text, { fields: { topic } });
    }
    if (this.#isResumed) await from.messages.removeGroup(topic, moveGroup);
  }

  async #refuseUsed(): Promise<void> {
    const { to, topic } = this.#parts;
    const { partitions, delayedCount } = await to.messages.describe(topic);
    if (delayedCount === 0 && partitions.every(({ first, next }) => first === next)) return;
    const text = `topic ${topic} is on the other engine already, with messages of its own; remove it there first`;
    throw new TenonError("conflict", text, { fields: { topic } });
  }

  /** Those that outlive their members. */
  async #groups(): Promise<readonly string[]> {
    const { groups } = await this.#parts.from.messages.describe(this.#parts.topic);
    return groups.filter(({ group, ephemeral }) => group !== moveGroup && !ephemeral).map(({ group }) => group);
  }

  async #copyNearly(): Promise<void> {
    while ((await this.#left()).lag > this.#parts.lagMax) await this.#pause();
    await this.#seal({ stage: "closing", fence: 0n });
  }

  /** Publishers wait meanwhile. */
  async #copyRest(): Promise<void> {
    try {
      const ends = (await this.#describe()).partitions.map(({ next }) => next);
      await this.#declareLateGroups();
      while (!(await this.#hasReached(ends))) await this.#pause();
    } catch (error) {
      await this.#reopen();
      throw error;
    }
    this.#copier.endIndex();
    await this.#seal({ stage: "copied", fence: 0n });
  }

  /** Publishers are let on where they were: nothing has been published on the other engine. Where that fails, too, they wait until the move goes on. */
  async #reopen(): Promise<void> {
    const { from, topic } = this.#parts;
    try {
      const { sealed, groups } = await from.messages.describe(topic);
      // Another run has come further, or to the end: this one has lost the topic to it.
      if (readMoveNote(sealed)?.stage !== "closing" || !groups.some(({ group }) => group === moveGroup)) return;
      await from.messages.declare(topic, { partitions: this.#partitions, sealed: "" });
    } catch (error) {
      if (error instanceof TenonError) return;
      throw error;
    }
    this.#stage = "copying";
    this.#tell(0, 0);
  }

  /** Groups that came while it was copied begin on the other engine with its oldest copy; what they had settled is carried over as for the others. */
  async #declareLateGroups(): Promise<void> {
    const { to, topic } = this.#parts;
    const there = new Set((await to.messages.describe(topic)).groups.map(({ group }) => group));
    const late = (await this.#groups()).filter((group) => !there.has(group));
    if (late.length > 0 && !to.messages.capabilities.replay) {
      const text = `group ${late[0]} of topic ${topic} was declared while the topic was copied, and the other engine cannot let it begin with older messages; remove the topic there and move it anew`;
      throw new TenonError("conflict", text, { fields: { topic, groups: late.join(", ") } });
    }
    const { sessionMsMin, windowMax } = to.messages.capabilities;
    const sessionMs = Math.max(10_000, sessionMsMin);
    const options = { sessionMs, revokeMs: sessionMs, windowMax: Math.min(1_000, windowMax) };
    for (const group of late) {
      await (await to.messages.join(topic, group, { ...options, from: "earliest" })).leave();
    }
  }

  async #hasReached(ends: readonly bigint[]): Promise<boolean> {
    return hasReached(await this.#describe(), ends);
  }

  /** Answers a fence that no grant has had a higher one than. */
  async #carryGroups(): Promise<bigint> {
    const { from, to, topic, pollMs } = this.#parts;
    const { signal } = this.#run;
    const transfer = new ProgressTransfer({
      ...{ from, to, topic, partitions: this.#partitions, copier: this.#copier, signal, pollMs },
      waitsFor: (group, members) => this.#tell(0, 0, { group, members }),
    });
    const repeats = (error: unknown): boolean => mayPass(error) || isCode(error, "lost");
    await this.#declareLateGroups();
    let fence = 0n;
    for (const group of await this.#groups()) {
      const own = await repeating(from.world, () => transfer.carry(group), signal, repeats);
      if (own > fence) fence = own;
    }
    return fence;
  }

  /** How much may be kept is limited last: copies count too. */
  async #finishTarget(): Promise<void> {
    const { from, to, topic } = this.#parts;
    const { countMax, whenFull } = await from.messages.describe(topic);
    const { countLimits } = to.messages.capabilities;
    if (countMax === undefined || countLimits === "none") return;
    const limits = countLimits === "evict" ? { countMax, whenFull } : { countMax };
    await to.messages.declare(topic, { partitions: this.#partitions, ...limits });
  }

  /** Of two runs that both believe to be the only one, as one that stood still may, the one that is behind ends here. */
  async #seal(note: MoveNote): Promise<void> {
    const { from, topic } = this.#parts;
    const declaration = { partitions: this.#partitions, sealed: moveNote(note) };
    const seal = async (): Promise<void> => {
      const stage = readMoveNote((await from.messages.describe(topic)).sealed)?.stage ?? "copying";
      // It was done by an attempt whose answer got lost.
      if (stage === note.stage) return;
      if (stage !== this.#stage) throw overtaken(topic, stage);
      await from.messages.declare(topic, declaration);
    };
    await repeating(from.world, seal, this.#run.signal);
    this.#stage = note.stage;
    this.#tell(0, 0);
  }

  /** What is still to be copied, and to come. */
  async #left(): Promise<{ readonly lag: number; readonly delayedCount: number }> {
    const description = await this.#describe();
    const lag = groupOf(description, moveGroup).lanes.reduce((sum, lane) => sum + lane.lag, 0);
    this.#tell(lag, description.delayedCount);
    return { lag, delayedCount: description.delayedCount };
  }

  #describe(): Promise<TopicDescription> {
    const { from, topic } = this.#parts;
    return repeating(from.world, () => from.messages.describe(topic), this.#run.signal);
  }

  #pause(): Promise<void> {
    const { from, pollMs } = this.#parts;
    return from.world.timers.sleep(pollMs, { signal: this.#run.signal });
  }

  #tell(lag: number, delayedCount: number, waitsFor?: MoveProgress["waitsFor"]): void {
    const { topic, onProgress } = this.#parts;
    onProgress({ topic, stage: this.#stage, copiedCount: this.#copier.count, lag, delayedCount, waitsFor });
  }
}

function overtaken(topic: string, stage: string): TenonError {
  const text = `another move of topic ${topic} has come to "${stage}" meanwhile; wait for it, or end it first`;
  return new TenonError("conflict", text, { fields: { topic } });
}
