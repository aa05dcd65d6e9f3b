import type { Codec } from "../codec/index.ts";
import { TenonError } from "../contracts/errors.ts";
import type { MessageHeaders } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import type { ConsumeOptions } from "./consumer.ts";
import { describeError } from "./failures.ts";
import { idHeader, publishedHeaders, tagHeader } from "./headers.ts";
import type { GivenUpHandler } from "./outcomes.ts";
import type { RetryOptions } from "./retry-policy.ts";

/** A message of a broadcast that this member will not handle any more. Nothing of it is kept for the member. */
export interface GivenUpMessage<T> {
  readonly body: Uint8Array;
  /** `undefined` when the body cannot be decoded. */
  readonly value: T | undefined;
  readonly key: string | undefined;
  readonly headers: MessageHeaders;
  readonly tag: string | undefined;
  readonly id: string | undefined;
  readonly topic: string;
  readonly partition: number;
  readonly position: bigint;
  /** What the last failure said. */
  readonly reason: string;
  /** How many times the handler failed. */
  readonly failures: number;
}

export interface BroadcastOptions<T> extends Omit<ConsumeOptions, "from"> {
  /** `attemptsMax` is 5 when left out. Retries wait in this process, so they end with it. */
  readonly retry?: RetryOptions | undefined;
  /** Called when a message has failed for the last time, cannot be decoded, or has expired. It is logged in any case. */
  readonly onGivenUp?: ((message: GivenUpMessage<T>) => void) | undefined;
}

const attemptsMaxDefault = 5;

export function broadcastRetry(retry: RetryOptions | undefined): RetryOptions {
  return { ...retry, attemptsMax: retry?.attemptsMax ?? attemptsMaxDefault };
}

/** What stands in the place of the dead letters for a member of a broadcast. */
export function givenUpHandler<T>(
  onGivenUp: BroadcastOptions<T>["onGivenUp"],
  codec: Codec<T>,
  world: World,
): GivenUpHandler {
  if (onGivenUp !== undefined && typeof onGivenUp !== "function") {
    throw new TenonError("invalid", "onGivenUp must be a function.");
  }
  return ({ stored, origin, failures }, reason) => {
    const { body, key, headers, id } = stored;
    const { topic, partition, position } = origin;
    try {
      onGivenUp?.({
        ...{ body, key, topic, partition, position, reason, failures },
        value: decoded(codec, body),
        headers: publishedHeaders(headers),
        tag: headers?.[tagHeader],
        id: id ?? headers?.[idHeader],
      });
    } catch (error) {
      const fields = { topic, partition, position, error: describeError(error) };
      world.log.log("error", "reporting a message that was given up failed", fields);
    }
  };
}

function decoded<T>(codec: Codec<T>, body: Uint8Array): T | undefined {
  try {
    return codec.decode(body);
  } catch {
    return undefined;
  }
}
