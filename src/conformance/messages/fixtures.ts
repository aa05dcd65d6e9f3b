import type {
  Batch,
  JoinOptions,
  Lane,
  LaneDescription,
  Membership,
  MessageEngine,
  NewMessage,
  Stored,
  TopicDeclaration,
} from "../../contracts/index.ts";
import type { World } from "../../world/world.ts";
import type { MessageSubject, MessagesEngine } from "../conformance-case.ts";
import { bytesOf, textOf, within } from "../expectations.ts";

export const joinDefaults: JoinOptions = { sessionMs: 10_000, revokeMs: 10_000, windowMax: 10_000 };

/** A topic of one partition with one group, `group`, unless said otherwise. */
export async function declared(
  engine: MessagesEngine,
  options: { topic?: string; partitions?: number; groups?: readonly string[]; retentionMs?: number } = {},
): Promise<string> {
  const { topic = "orders", partitions = 1, groups = ["group"], retentionMs } = options;
  await engine.messages.declare(topic, { partitions, groups, retentionMs });
  return topic;
}

export function batch(topic: string, messages: readonly (string | NewMessage)[], more: Partial<Batch> = {}): Batch {
  return {
    topic,
    partition: 0,
    messages: messages.map((message) => (typeof message === "string" ? { body: bytesOf(message) } : message)),
    ...more,
  };
}

export function append(engine: MessagesEngine, topic: string, ...messages: readonly (string | NewMessage)[]) {
  return engine.messages.append(batch(topic, messages));
}

/** `m0`, `m1`, … */
export function numbered(count: number, prefix = "m"): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

export function join(engine: MessagesEngine, topic: string, group = "group", options: Partial<JoinOptions> = {}) {
  return engine.messages.join(topic, group, { ...joinDefaults, ...options });
}

export function nextLane(world: World, membership: Membership): Promise<Lane> {
  return within(world, "a lane is granted", membership.nextLane());
}

export async function lanes(world: World, membership: Membership, count: number): Promise<readonly Lane[]> {
  const granted: Lane[] = [];
  while (granted.length < count) granted.push(await nextLane(world, membership));
  return granted;
}

/** A member of the group and the lane of the topic's only partition. */
export async function soleLane(
  engine: MessagesEngine,
  topic: string,
  group = "group",
  options: Partial<JoinOptions> = {},
): Promise<{ member: Membership; lane: Lane }> {
  const member = await join(engine, topic, group, options);
  return { member, lane: await nextLane(engine.world, member) };
}

/** Exactly this many messages, over as many fetches as it takes. */
export async function fetched(world: World, lane: Lane, count: number): Promise<readonly Stored[]> {
  const messages: Stored[] = [];
  while (messages.length < count) {
    const more = await within(world, `message ${messages.length} of ${count}`, lane.fetch(count - messages.length));
    messages.push(...more);
  }
  return messages;
}

export async function fetchedTexts(world: World, lane: Lane, count: number): Promise<readonly string[]> {
  return (await fetched(world, lane, count)).map((message) => textOf(message.body));
}

/** A waiting fetch as a promise that can be looked at, and the way to end it. */
export function waitingFetch(lane: Lane, limit = 100): { promise: Promise<readonly Stored[]>; end(): Promise<void> } {
  const controller = new AbortController();
  const promise = lane.fetch(limit, { signal: controller.signal });
  promise.catch(() => undefined);
  return {
    promise,
    async end() {
      controller.abort();
      await promise.catch(() => undefined);
    },
  };
}

export async function laneOf(engine: MessagesEngine, topic: string, group = "group"): Promise<LaneDescription> {
  const description = await engine.messages.describe(topic);
  const found = description.groups.find((each) => each.group === group);
  if (found === undefined) throw new Error(`describe(${topic}) does not name the group ${group}`);
  return found.lanes[0]!;
}

export function needsCrash(subject: MessageSubject): true | string {
  return subject.crash === undefined ? "the host cannot crash this engine, or nothing of it would survive" : true;
}

export function needsDelay(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.delay || "the engine declares no delay";
}

export function needsReplay(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.replay || "the engine declares no replay";
}

export function needsFence(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.fence || "the engine declares no fence";
}

export function needsAtomic(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.atomic || "the engine declares no atomic commit of appends";
}

export function needsSequences(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.deduplicate !== "none" || "the engine declares no deduplication";
}

export function needsIds(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.deduplicate === "id" || "the engine declares no deduplication by id";
}

export function needsCountLimit(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.countLimits !== "none" || "the engine declares no limit of messages";
}

export function needsEviction(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.countLimits === "evict" || "the engine declares no eviction";
}

/** The settings as far as the engine has limits of messages: one that has none refuses them, which a case of its own holds. */
export function limitsOf<T extends Pick<TopicDeclaration, "countMax" | "whenFull">>(
  { messages }: MessagesEngine,
  settings: T,
): Partial<T> {
  const { countLimits } = messages.capabilities;
  if (countLimits === "none") return {};
  const { whenFull, ...rest } = settings;
  return countLimits === "evict" || whenFull !== "evict" ? settings : (rest as Partial<T>);
}

/** All of the needs, in order; the first that is not met is the reason. */
export function needsAll(...needs: readonly ((subject: MessageSubject) => true | string)[]) {
  return (subject: MessageSubject): true | string => {
    for (const need of needs) {
      const answer = need(subject);
      if (answer !== true) return answer;
    }
    return true;
  };
}

/** The engine with some of its calls replaced, so that a case can lose a reply or hold one back. */
export function altered(messages: MessageEngine, changes: Partial<MessageEngine>): MessageEngine {
  return {
    capabilities: messages.capabilities,
    declare: (topic, declaration) => messages.declare(topic, declaration),
    topics: () => messages.topics(),
    remove: (topic) => messages.remove(topic),
    removeGroup: (topic, group) => messages.removeGroup(topic, group),
    describe: (topic) => messages.describe(topic),
    append: (appended) => messages.append(appended),
    join: (topic, group, options) => messages.join(topic, group, options),
    seek: (topic, group, to) => messages.seek(topic, group, to),
    ...changes,
  };
}
