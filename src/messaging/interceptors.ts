import { TenonError } from "../contracts/errors.ts";
import type { BatchHandler } from "./batch-runs.ts";
import type { BatchContext, BatchMessage, MessageContext } from "./context.ts";
import type { Handler } from "./handler-runs.ts";
import type { Receipt } from "./partition-queue.ts";
import type { Verdict } from "./verdict.ts";

/** A message on its way to the engine, after its partition was chosen. */
export interface OutgoingMessage<T> {
  readonly topic: string;
  readonly partition: number;
  readonly value: T;
  readonly key: string | undefined;
  readonly id: string | undefined;
  readonly tag: string | undefined;
  /** The instant before which it is not delivered, ms since the epoch. */
  readonly dueAt: number | undefined;
  /** The instant from which on it is not delivered, ms since the epoch. */
  readonly expiresAt: number | undefined;
  /** A copy of the publisher's, to be added to and changed until `next` is called. */
  readonly headers: Record<string, string>;
}

/**
 * Stands around publishing and around handlers, as middleware does: the first of a topic's interceptors is the outermost. Each calls
 * `next` for what lies within and answers with what that answered, or throws: the caller sees the error that the outermost lets through.
 */
export interface Interceptor<T = unknown> {
  /**
   * Around the publishing of one message. What is thrown before `next` was called keeps the message from being stored; later it is stored
   * nevertheless. Calling `next` twice is refused (`invalid`). Messages keep the order in which `next` is called for them.
   */
  publish?(message: OutgoingMessage<T>, next: () => Promise<Receipt>): Promise<Receipt>;
  /** Around each delivery to a handler. A throw is the handler's failure; not calling `next` settles the message unhandled. */
  deliver?(value: T, context: MessageContext, next: () => Promise<void>): Promise<void>;
  /** Around each call of a batch handler. */
  deliverBatch?(
    messages: readonly BatchMessage<T>[],
    context: BatchContext,
    next: () => Promise<readonly Verdict[] | undefined>,
  ): Promise<readonly Verdict[] | undefined>;
}

export type PublishChain<T> = (message: OutgoingMessage<T>, send: () => Promise<Receipt>) => Promise<Receipt>;

/** `undefined` when none of them has to do with publishing. */
export function publishChain<T>(interceptors: readonly Interceptor<T>[]): PublishChain<T> | undefined {
  const around = interceptors.filter((each) => each.publish !== undefined);
  if (around.length === 0) return undefined;
  const from = (index: number, message: OutgoingMessage<T>, send: () => Promise<Receipt>): Promise<Receipt> => {
    const interceptor = around[index];
    if (interceptor === undefined) return settledBy(send);
    let called = false;
    return settledBy(() =>
      interceptor.publish!(message, () => {
        if (called) return Promise.reject(calledTwice(message.topic));
        called = true;
        return from(index + 1, message, send);
      }),
    );
  };
  return (message, send) => from(0, message, send);
}

export function interceptedHandler<T>(interceptors: readonly Interceptor<T>[], handler: Handler<T>): Handler<T> {
  let whole = handler;
  for (const interceptor of interceptors.toReversed()) {
    if (interceptor.deliver === undefined) continue;
    const within = whole;
    whole = (value, context) => interceptor.deliver!(value, context, async () => within(value, context));
  }
  return whole;
}

export function interceptedBatchHandler<T>(
  interceptors: readonly Interceptor<T>[],
  handler: BatchHandler<T>,
): BatchHandler<T> {
  let whole = handler;
  for (const interceptor of interceptors.toReversed()) {
    if (interceptor.deliverBatch === undefined) continue;
    const within = whole;
    const next = async (messages: readonly BatchMessage<T>[], context: BatchContext) =>
      (await within(messages, context)) ?? undefined;
    whole = (messages, context) => interceptor.deliverBatch!(messages, context, () => next(messages, context));
  }
  return whole;
}

export function checkInterceptors(topic: string, interceptors: readonly Interceptor<never>[]): void {
  const known = ["publish", "deliver", "deliverBatch"] as const;
  const sound = (each: Interceptor<never>): boolean =>
    typeof each === "object" &&
    each !== null &&
    known.every((name) => each[name] === undefined || typeof each[name] === "function");
  if (Array.isArray(interceptors) && interceptors.every(sound)) return;
  throw new TenonError(
    "invalid",
    `The interceptors of topic "${topic}" must be a list of objects with any of the functions ${known.join(", ")}.`,
    { fields: { topic } },
  );
}

function settledBy(call: () => Promise<Receipt>): Promise<Receipt> {
  try {
    return Promise.resolve(call());
  } catch (error) {
    return Promise.reject(error);
  }
}

function calledTwice(topic: string): TenonError {
  return new TenonError("invalid", `An interceptor of topic "${topic}" called next twice for one message.`, {
    fields: { topic },
  });
}
