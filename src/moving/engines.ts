import type { MessageEngine } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";

/** An engine that carries messages. */
export interface MessagingEngine {
  readonly messages: MessageEngine;
  readonly world: World;
  readonly topicCreation?: "ifMissing" | "never" | undefined;
}
