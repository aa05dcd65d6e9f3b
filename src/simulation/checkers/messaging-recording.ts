import type { Lane, LaneCommit, Membership, MessageEngine } from "../../contracts/messages.ts";
import type { MessagingHistory, RecordedDelivery } from "./messaging-history.ts";
import type { DeliveryEnding } from "./messaging-records.ts";

/** Of whom is recorded, and how to read the number of a message. */
export interface Recording<T> {
  readonly history: MessagingHistory;
  /** One topic object of one incarnation of a process: publisher and consumer at once. */
  readonly name: string;
  readonly numberOf: (value: T) => number;
  /** The wall clock of this process. */
  readonly nowMs: () => number;
}

interface Outgoing<T> {
  readonly topic: string;
  readonly partition: number;
  readonly value: T;
  readonly key: string | undefined;
  readonly id: string | undefined;
  readonly dueAt: number | undefined;
  readonly expiresAt: number | undefined;
}

interface Receipt {
  readonly partition: number;
  readonly position: bigint | undefined;
}

interface Context {
  readonly key: string | undefined;
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly position: bigint;
  readonly publishedAt: number;
  readonly attempt: number;
  readonly fence: bigint;
}

interface Answer {
  readonly outcome: "settle" | "retry" | "dead-letter";
  readonly reason?: string;
}

/** Fits `Interceptor` of `tenon/messaging`. */
export interface RecordingInterceptor<T> {
  publish<R extends Receipt>(message: Outgoing<T>, next: () => Promise<R>): Promise<R>;
  deliver(value: T, context: Context, next: () => Promise<void>): Promise<void>;
  deliverBatch<V extends Answer>(
    messages: readonly (Context & { readonly value: T })[],
    context: unknown,
    next: () => Promise<readonly V[] | undefined>,
  ): Promise<readonly V[] | undefined>;
}

/**
 * Records what is published and handled by the topic object whose last interceptor it is. Each such object needs one of its own; of redriving it
 * sees nothing.
 */
export function recordingInterceptor<T>(recording: Recording<T>): RecordingInterceptor<T> {
  const { history, name, numberOf, nowMs } = recording;
  const begin = (value: T, context: Context, batch: number | undefined): RecordedDelivery => {
    const { key, topic, group, partition, position, publishedAt, attempt, fence } = context;
    const where = { topic, group, partition, position };
    const facts = { key, publishedAt, attempt, fence, memberMs: nowMs(), batch };
    return history.deliver({ member: name, number: numberOf(value), ...where, ...facts });
  };
  return {
    async publish(message, next) {
      const { topic, partition, key, id, dueAt, expiresAt, value } = message;
      const number = numberOf(value);
      const call = history.publish({ publisher: name, topic, number, partition, key, id, dueAt, expiresAt });
      try {
        const receipt = await next();
        call.acknowledged(receipt);
        return receipt;
      } catch (error) {
        call.failed(error);
        throw error;
      }
    },
    async deliver(value, context, next) {
      const delivery = begin(value, context, undefined);
      try {
        await next();
      } catch (error) {
        delivery.threw(error);
        throw error;
      }
      delivery.resolved();
    },
    async deliverBatch(messages, _context, next) {
      const batch = history.nextBatch();
      const deliveries = messages.map((message) => begin(message.value, message, batch));
      try {
        const answers = await next();
        for (const [index, delivery] of deliveries.entries()) endAs(delivery, answers?.[index]);
        return answers;
      } catch (error) {
        for (const delivery of deliveries) delivery.threw(error);
        throw error;
      }
    },
  };
}

const endings: Readonly<Record<Answer["outcome"], DeliveryEnding>> = {
  settle: "resolved",
  retry: "threw",
  "dead-letter": "dead letter",
};

function endAs(delivery: RecordedDelivery, answer: Answer | undefined): void {
  delivery.ended(endings[answer?.outcome ?? "settle"], answer?.reason);
}

/** The same engine, with a record of every settlement that its lanes confirm. */
export function recordedMessages(engine: MessageEngine, history: MessagingHistory): MessageEngine {
  return {
    capabilities: engine.capabilities,
    declare: (topic, declaration) => engine.declare(topic, declaration),
    topics: () => engine.topics(),
    remove: (topic) => engine.remove(topic),
    removeGroup: (topic, group) => engine.removeGroup(topic, group),
    describe: (topic) => engine.describe(topic),
    append: (batch) => engine.append(batch),
    seek: (topic, group, to) => engine.seek(topic, group, to),
    join: async (topic, group, options) => recordedMembership(await engine.join(topic, group, options), history),
  };
}

function recordedMembership(membership: Membership, history: MessagingHistory): Membership {
  return {
    nextLane: async (options) => recordedLane(await membership.nextLane(options), history),
    leave: () => membership.leave(),
  };
}

function recordedLane(lane: Lane, history: MessagingHistory): Lane {
  const { topic, group, partition, fence, revoked, lost, held, suspectBelow } = lane;
  return {
    ...{ topic, group, partition, fence, revoked, lost, held, suspectBelow },
    fetch: (limit, options) => lane.fetch(limit, options),
    release: () => lane.release(),
    async commit(change) {
      const called = history.moment();
      await lane.commit(change);
      history.settled({ topic, group, partition, grant: fence }, finallySettled(change), called);
    },
  };
}

/** Without those that go on elsewhere: a copy that waits for its retry names the position of its original. */
function finallySettled({ settled, appends = [] }: LaneCommit): readonly bigint[] {
  const goOn = new Set<bigint>();
  for (const { messages } of appends) {
    for (const { dueAt, headers } of messages) {
      if (dueAt !== undefined) goOn.add(BigInt(headers?.["tenon-origin-position"] ?? -1));
    }
  }
  return [...settled].filter((position) => !goOn.has(position));
}
