import { checkEngineAs } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import type { MessageEngine } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import type { MessagingEngine } from "./engines.ts";
import { MovingMessages } from "./moving-messages.ts";

export interface MovingOptions {
  /** How often it is looked at whether a topic that is consumed leaves, in milliseconds; 1,000 when left out. */
  readonly pollMs?: number | undefined;
}

/** Two engines as one, for as long as topics move from the first to the second. */
export interface MovingEngine extends MessagingEngine {
  readonly messages: MessageEngine;
  readonly world: World;
}

/**
 * Makes an engine for publishers and consumers whose topics are to move from one engine to another while they run. Each topic is used where it is: on `from` until it is
 * moved, then on `to`; what is on neither is made on `to`. Its capabilities are the lesser of both engines' in everything, and `atomic` is false.
 *
 * It opens nothing and owns nothing: closing the two engines stays with their owner.
 */
export function moving(from: MessagingEngine, to: MessagingEngine, options: MovingOptions = {}): MovingEngine {
  checkEngineAs("moving()", "its first argument", from, ["messages"]);
  checkEngineAs("moving()", "its second argument", to, ["messages"]);
  const { pollMs = 1_000 } = options;
  if (!(typeof pollMs === "number" && pollMs > 0 && Number.isFinite(pollMs))) {
    throw new TenonError("invalid", `pollMs must be a positive number of milliseconds, not ${pollMs}`);
  }
  return {
    messages: new MovingMessages(from, to, pollMs),
    world: from.world,
    topicCreation: from.topicCreation,
  };
}
