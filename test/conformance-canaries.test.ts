/**
 * The suites must be able to fail: engines that are broken on purpose, one fault each, and the case that must find it.
 */
import { describe, test } from "node:test";
import { type ConformanceCase, keyValueCases, messageCases } from "tenon/conformance";
import type {
  Batch,
  KeyValueChange,
  KeyValueEngine,
  Lane,
  LaneCommit,
  Membership,
  MessageEngine,
  WatchEvent,
} from "tenon/contracts";
import { embedded } from "tenon/embedded";
import type { World } from "tenon/world";
import { type Canary, mustBeFound } from "./conformance-canary.ts";
import { forgetfulWorld } from "./forgetful-world.ts";

interface Fault {
  readonly fault: string;
  readonly caughtBy: string;
  readonly messages?: (sound: MessageEngine) => Partial<MessageEngine>;
  readonly lane?: (sound: Lane) => Partial<Lane>;
  readonly keyValue?: (sound: KeyValueEngine) => Partial<KeyValueEngine>;
  readonly world?: (sound: World) => World;
  readonly staysOpen?: boolean;
}

const faults: readonly Fault[] = [
  {
    fault: "forgets who produced a batch",
    caughtBy: "a batch repeated with its sequence is answered with its positions and stored once",
    messages: (sound) => ({ append: (batch) => sound.append({ ...batch, producer: undefined }) }),
  },
  {
    fault: "forgets who produced a batch, under the block",
    caughtBy: "a publish whose reply is lost is repeated: stored once, in order",
    messages: (sound) => ({ append: (batch) => sound.append({ ...batch, producer: undefined }) }),
  },
  {
    fault: "forgets message ids",
    caughtBy: "a message id that was stored in the topic is answered with its position and stored once",
    messages: (sound) => ({ append: (batch) => sound.append(eachMessage(batch, { id: undefined })) }),
  },
  {
    fault: "shows delayed messages early",
    caughtBy: "a delayed message is never early, and no later than declared",
    messages: (sound) => ({
      append: (batch) =>
        sound.append({
          ...batch,
          messages: batch.messages.map((each) => ({ ...each, dueAt: each.dueAt && each.dueAt - 20 })),
        }),
    }),
  },
  {
    fault: "stores a batch message by message",
    caughtBy: "a batch with one message that cannot be stored stores nothing",
    messages: (sound) => ({
      async append(batch) {
        const positions: (bigint | undefined)[] = [];
        for (const message of batch.messages)
          positions.push(...(await sound.append({ ...batch, messages: [message] })));
        return positions;
      },
    }),
  },
  {
    fault: "takes another partition count for the same topic",
    caughtBy: "declaring a topic with another partition count is a conflict",
    messages: (sound) => ({
      async declare(topic, declaration) {
        await sound.declare(topic, declaration).catch(() => undefined);
      },
    }),
  },
  {
    fault: "says that it has no delay, and delays",
    caughtBy: "an engine without delay refuses a delayed message",
    messages: (sound) => ({ capabilities: { ...sound.capabilities, delay: false } }),
  },
  {
    fault: "says that it has no replay, and replays",
    caughtBy: "an engine without replay refuses to go back",
    messages: (sound) => ({ capabilities: { ...sound.capabilities, replay: false } }),
  },
  {
    fault: "says that it does not deduplicate, and does",
    caughtBy: "an engine that does not deduplicate by id stores every message",
    messages: (sound) => ({ capabilities: { ...sound.capabilities, deduplicate: "none" } }),
  },
  {
    fault: "says that it has no seals, and seals",
    caughtBy: "a seal that the engine does not have is refused when it is declared, and so is a note that is too long",
    messages: (sound) => ({ capabilities: { ...sound.capabilities, seal: false } }),
  },
  {
    fault: "seals in name only",
    caughtBy: "a sealed topic takes no messages in any partition, and says why",
    messages: (sound) => ({
      declare: (topic, declaration) => sound.declare(topic, { ...declaration, sealed: undefined }),
      describe: async (topic) => ({ ...(await sound.describe(topic)), sealed: "moved to another engine" }),
    }),
  },
  {
    fault: "forgets that a topic is sealed when it is declared again",
    caughtBy: 'a seal stays when the topic is declared without one, and "" opens it again',
    messages: (sound) => ({
      declare: (topic, declaration) => sound.declare(topic, { ...declaration, sealed: declaration.sealed ?? "" }),
    }),
  },
  {
    fault: "goes twice as far as the window",
    caughtBy: "a fetch never goes windowMax messages beyond the lowest unsettled one, and goes on when that settles",
    messages: (sound) => ({
      join: (topic, group, options) => sound.join(topic, group, { ...options, windowMax: options.windowMax * 2 }),
    }),
  },
  {
    fault: "goes twice as far as the window, under the block",
    caughtBy: "a failing message lets others pass up to the window, and all of them once it succeeds",
    messages: (sound) => ({
      join: (topic, group, options) => sound.join(topic, group, { ...options, windowMax: options.windowMax * 2 }),
    }),
  },
  {
    fault: "fetches in reverse",
    caughtBy: "a new grant starts with every unsettled message in stored order, then new ones",
    lane: (sound) => ({ fetch: async (limit, options) => [...(await sound.fetch(limit, options))].reverse() }),
  },
  {
    fault: "fetches in reverse, under the block",
    caughtBy: "messages of a key are handled in publish order, one at a time, while keys run in parallel",
    lane: (sound) => ({ fetch: async (limit, options) => [...(await sound.fetch(limit, options))].reverse() }),
  },
  {
    fault: "loses what was settled",
    caughtBy: "the position belongs to the group: the next member goes on where the former one stopped",
    lane: (sound) => ({ commit: (change) => sound.commit({ ...change, settled: [] }) }),
  },
  {
    fault: "loses what was held",
    caughtBy: "held entries reach the next owner in stored order, as they were last recorded",
    lane: (sound) => ({ commit: (change) => sound.commit({ ...change, held: [] }) }),
  },
  {
    fault: "loses what was held, under the block",
    caughtBy: "recorded failures are remembered across a crash; a message that was merely prefetched is not blamed",
    lane: (sound) => ({ commit: (change) => sound.commit({ ...change, held: [] }) }),
  },
  {
    fault: "loses what a commit appends",
    caughtBy: "a commit's appends reach their topics",
    lane: (sound) => ({ commit: (change) => sound.commit({ ...change, appends: [] }) }),
  },
  {
    fault: "settles before it appends",
    caughtBy: "a commit whose appends cannot be stored settles nothing and stores nothing",
    lane: (sound) => ({
      async commit(change: LaneCommit) {
        await sound.commit({ settled: change.settled });
        await sound.commit({ ...change, settled: [] });
      },
    }),
  },
  {
    fault: "gives every grant the same fence",
    caughtBy: "the fence of a lane grows with every grant",
    lane: () => ({ fence: 7n }),
  },
  {
    fault: "gives every grant the same fence, under the block",
    caughtBy: "the fence grows with every delivery of a lane: over messages, retries and members",
    lane: () => ({ fence: 7n }),
  },
  {
    fault: "tells a zombie that its commit was made",
    caughtBy: "a lane that is not released within revokeMs is lost, and its owner can commit nothing more",
    lane: (sound) => ({ commit: (change) => sound.commit(change).catch(() => undefined) }),
  },
  {
    fault: "suspects nobody after a crash",
    caughtBy: "after a crash a lane starts with every unsettled message in order, and what was fetched is suspect",
    lane: () => ({ suspectBelow: 0n }),
  },
  {
    fault: "suspects nobody after a crash, under the block",
    caughtBy:
      "a message that kills its process again and again is delivered alone, then it is a dead letter, and nothing else is",
    lane: () => ({ suspectBelow: 0n }),
  },
  {
    fault: "does not listen to the signal of a fetch",
    caughtBy: "waiting for messages can be aborted, and no message is lost by it",
    lane: (sound) => ({ fetch: (limit) => sound.fetch(limit) }),
  },
  {
    fault: "loses messages when a fetch is aborted",
    caughtBy: "waiting for messages can be aborted, and no message is lost by it",
    lane: (sound) => ({
      async fetch(limit, options) {
        const messages = await sound.fetch(limit);
        options?.signal?.throwIfAborted();
        return messages;
      },
    }),
  },
  {
    fault: "forgets the groups of a removed topic, and nothing else",
    caughtBy: "a removed topic is not found any more, whatever is asked of it",
    messages: (sound) => ({
      async remove(topic) {
        const { groups } = await sound.describe(topic);
        for (const { group } of groups) await sound.removeGroup(topic, group);
      },
    }),
  },
  {
    fault: "keeps the delayed messages of a removed topic",
    caughtBy: "delayed messages of a removed topic never come",
    messages: (sound) => ({ remove: (topic) => emptied(sound, topic) }),
  },
  {
    fault: "keeps what producers of a removed topic had stored",
    caughtBy: "what producers of a removed topic had stored is forgotten with it",
    messages: (sound) => ({ remove: (topic) => emptied(sound, topic) }),
  },
  {
    fault: "keeps the message ids of a removed topic",
    caughtBy: "the message ids of a removed topic are forgotten with it",
    messages: (sound) => ({ remove: (topic) => emptied(sound, topic) }),
  },
  {
    fault: "moves a group to the end instead of removing it",
    caughtBy: "a removed group loses its progress and its members, and other groups keep theirs",
    messages: (sound) => ({ removeGroup: (topic, group) => sound.seek(topic, group, "now") }),
  },
  {
    fault: "removes topics before it syncs",
    caughtBy: "what was removed stays removed after a crash, and what was declared anew is new",
    world: forgetfulWorld,
  },
  {
    fault: "forgets what a topic was declared with",
    caughtBy: "settings that are given again replace the former ones, those left out stay, also across a crash",
    messages: (sound) => ({
      declare: (topic, declaration) => sound.declare(topic, { countMax: 10, ...declaration }),
    }),
  },
  {
    fault: "lets ephemeral groups outlive their members",
    caughtBy: "an ephemeral group starts now and is removed when its member leaves",
    messages: (sound) => ({
      join: (topic, group, options) => sound.join(topic, group, { ...options, ephemeral: false }),
    }),
  },
  {
    fault: "lets ephemeral groups outlive their members' process",
    caughtBy: "an ephemeral group is gone after the crash of its member's process",
    messages: (sound) => ({
      join: (topic, group, options) => sound.join(topic, group, { ...options, ephemeral: false }),
    }),
  },
  {
    fault: "lets ephemeral groups outlive their members, under the block",
    caughtBy: "every member of a broadcast gets every message that is published from then on",
    messages: (sound) => ({
      join: (topic, group, options) => sound.join(topic, group, { ...options, ephemeral: false }),
    }),
  },
  {
    fault: "forgets Tenon's own headers, under the block",
    caughtBy: "a message that expires before it is delivered becomes a dead letter, and its key goes on",
    messages: (sound) => ({
      append: (batch) =>
        sound.append({ ...batch, messages: batch.messages.map((each) => ({ ...each, headers: undefined })) }),
    }),
  },
  {
    fault: "never tells members that their group was removed, under the block",
    caughtBy: "a consumer whose topic or group is deleted ends and says so",
    messages: (sound) => ({
      async join(topic, group, options) {
        const member = await sound.join(topic, group, options);
        const never = new Promise<never>(() => undefined);
        return {
          leave: () => member.leave(),
          nextLane: (waiting) =>
            member.nextLane(waiting).catch((error) => (waiting?.signal?.aborted ? Promise.reject(error) : never)),
        };
      },
    }),
  },
  {
    fault: "does not look at agreements",
    caughtBy: "members of one group bring the same agreement, and the next ones may bring another",
    messages: (sound) => ({
      join: (topic, group, options) => sound.join(topic, group, { ...options, agreement: undefined }),
    }),
  },
  {
    fault: "keeps one message more than countMax",
    caughtBy: "a full topic refuses a batch whole, and takes as much as was settled",
    messages: (sound) => ({
      declare: (topic, declaration) =>
        sound.declare(topic, { ...declaration, countMax: declaration.countMax && declaration.countMax + 1 }),
    }),
  },
  {
    fault: "takes a batch message by message while there is room",
    caughtBy: "a full topic refuses a batch whole, and takes as much as was settled",
    messages: (sound) => ({
      async append(batch) {
        const positions: (bigint | undefined)[] = [];
        for (const message of batch.messages)
          positions.push(...(await sound.append({ ...batch, messages: [message] })));
        return positions;
      },
    }),
  },
  {
    fault: "refuses where it should evict",
    caughtBy: "a full topic that evicts settles the oldest messages of its fullest partition for every group",
    messages: (sound) => ({
      declare: (topic, declaration) => sound.declare(topic, { ...declaration, whenFull: "refuse" }),
    }),
  },
  {
    fault: "evicts for what it then refuses",
    caughtBy: "a batch that can never fit is refused also by a topic that evicts",
    messages: (sound) => ({
      async append(batch) {
        for (const message of batch.messages) await sound.append({ ...batch, messages: [message] }).catch(() => []);
        return sound.append(batch);
      },
    }),
  },
  { fault: "stays open", caughtBy: "after close everything is refused with `closed`", staysOpen: true },
  {
    fault: "acknowledges before it syncs",
    caughtBy: "what was acknowledged survives a crash: topics, groups, messages",
    world: forgetfulWorld,
  },
  {
    fault: "acknowledges before it syncs, under the block",
    caughtBy: "what was published survives a crash, and what was settled is not handled again",
    world: forgetfulWorld,
  },
  {
    fault: "ignores conditions",
    caughtBy: "`ifAbsent` holds for a key that is not there, and else answers with what is",
    keyValue: (sound) => ({
      commit: (changes) => sound.commit(changes.map((each) => ({ ...each, condition: undefined }) as KeyValueChange)),
    }),
  },
  {
    fault: "checks the bound of a counter before it adds, not while",
    caughtBy: "a hundred concurrent callers never take a counter below its bound, and every success counts",
    keyValue: (sound) => ({
      async commit(changes) {
        const [change] = changes;
        if (change?.type !== "add" || change.min === undefined) return sound.commit(changes);
        const [current] = await sound.get([change.key]);
        if (Number(Buffer.from(current?.value ?? "0").toString()) + change.by < change.min)
          return sound.commit(changes);
        return sound.commit([{ ...change, min: undefined }]);
      },
    }),
  },
  {
    fault: "commits key by key",
    caughtBy: "one failed condition among several changes nothing, and the first one that failed is answered",
    keyValue: (sound) => ({
      async commit(changes) {
        for (const [index, change] of changes.entries()) {
          const result = await sound.commit([change]);
          if (!result.committed) return { ...result, failed: index };
          if (index === changes.length - 1) return result;
        }
        return sound.commit(changes);
      },
    }),
  },
  {
    fault: "ends a time to live early",
    caughtBy: "a key with a time to live is there until its end, and gone soon after",
    keyValue: (sound) => ({ commit: (changes) => sound.commit(changes.map((each) => withTtl(each, 0.8))) }),
  },
  {
    fault: "ends a time to live far too late",
    caughtBy: "a key with a time to live is there until its end, and gone soon after",
    keyValue: (sound) => ({ commit: (changes) => sound.commit(changes.map((each) => withTtl(each, 1_000))) }),
  },
  {
    fault: "reads more of a page than was asked for",
    caughtBy: "a scan is read in pages, each key once",
    keyValue: (sound) => ({ scan: (prefix, options) => sound.scan(prefix, { ...options, limit: 1_000 }) }),
  },
  {
    fault: "shows no deletes to those who watch",
    caughtBy: "a slow reader may miss states in between, never the last one and never a delete",
    keyValue: (sound) => ({ watch: (prefix, options) => without("delete", sound.watch(prefix, options)) }),
  },
  {
    fault: "does not end a watch that is aborted",
    caughtBy: "aborting ends a watch that waits, and one that has not begun",
    keyValue: (sound) => ({ watch: (prefix) => sound.watch(prefix) }),
  },
  {
    fault: "acknowledges commits before it syncs",
    caughtBy: "acknowledged commits survive a crash: puts, deletes, counters",
    world: forgetfulWorld,
  },
];

describe("a fault in an engine is found by its case", () => {
  for (const each of faults) test(`${each.fault}`, () => mustBeFound(canaryOf(each)));
});

function canaryOf(fault: Fault): Canary<Broken> {
  const opening = (each: Fault) => async (world: World) =>
    broken(await embedded({ directory: "/data", world: each.world?.(world) ?? world }), each);
  const cases: readonly ConformanceCase<Broken>[] =
    fault.keyValue === undefined ? [...messageCases, ...keyValueCases] : keyValueCases;
  const { caughtBy } = fault;
  return { cases, caughtBy, sound: opening({ fault: "none", caughtBy }), broken: opening(fault) };
}

interface Broken {
  readonly messages: MessageEngine;
  readonly keyValue: KeyValueEngine;
  readonly world: World;
  close(): Promise<void>;
}

function broken(engine: Broken, fault: Fault): Broken {
  const { messages, keyValue, world } = engine;
  const change = fault.lane;
  const lanes: Partial<MessageEngine> =
    change === undefined
      ? {}
      : { join: async (topic, group, options) => brokenMember(await messages.join(topic, group, options), change) };
  return {
    world,
    messages: {
      capabilities: messages.capabilities,
      declare: (topic, declaration) => messages.declare(topic, declaration),
      topics: () => messages.topics(),
      remove: (topic) => messages.remove(topic),
      removeGroup: (topic, group) => messages.removeGroup(topic, group),
      describe: (topic) => messages.describe(topic),
      append: (batch) => messages.append(batch),
      join: (topic, group, options) => messages.join(topic, group, options),
      seek: (topic, group, to) => messages.seek(topic, group, to),
      ...lanes,
      ...fault.messages?.(messages),
    },
    keyValue: {
      capabilities: keyValue.capabilities,
      get: (keys) => keyValue.get(keys),
      commit: (changes) => keyValue.commit(changes),
      scan: (prefix, options) => keyValue.scan(prefix, options),
      watch: (prefix, options) => keyValue.watch(prefix, options),
      ...fault.keyValue?.(keyValue),
    },
    close: async () => {
      if (!fault.staysOpen) await engine.close();
    },
  };
}

function brokenMember(member: Membership, change: (sound: Lane) => Partial<Lane>): Membership {
  return {
    leave: () => member.leave(),
    async nextLane(options) {
      const lane = await member.nextLane(options);
      const { topic, group, partition, fence, revoked, lost, held, suspectBelow } = lane;
      return {
        ...{ topic, group, partition, fence, revoked, lost, held, suspectBelow },
        fetch: (limit, waiting) => lane.fetch(limit, waiting),
        commit: (commit) => lane.commit(commit),
        release: () => lane.release(),
        ...change(lane),
      };
    },
  };
}

/** Everything of the topic is settled, and nothing is forgotten. */
async function emptied(engine: MessageEngine, topic: string): Promise<void> {
  const { groups } = await engine.describe(topic);
  for (const { group } of groups) await engine.seek(topic, group, "now");
}

function eachMessage(batch: Batch, change: { readonly id: undefined }): Batch {
  return { ...batch, messages: batch.messages.map((each) => ({ ...each, ...change })) };
}

function withTtl(change: KeyValueChange, factor: number): KeyValueChange {
  if (!("ttlMs" in change) || change.ttlMs === undefined) return change;
  return { ...change, ttlMs: change.ttlMs * factor };
}

async function* without(type: WatchEvent["type"], events: AsyncIterable<WatchEvent>): AsyncGenerator<WatchEvent> {
  for await (const event of events) if (event.type !== type) yield event;
}
