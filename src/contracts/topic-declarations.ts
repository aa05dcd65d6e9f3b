import { TenonError } from "./errors.ts";
import type { MessageCapabilities, TopicDeclaration } from "./messages.ts";

/** Of topics and groups. */
export const nameBytesMax = 512;
/** Of the note of a topic that is sealed. */
export const sealNoteBytesMax = 1_024;

/** Which characters a name may have is the messaging block's to say; engines only need it to be short. */
export function checkName(what: "topic" | "group", name: string): void {
  // UTF-8 has no form for a lone surrogate: two names could become one.
  if (!name.isWellFormed()) throw new TenonError("invalid", `a ${what} name must be well-formed Unicode`);
  if (name.length > 0 && Buffer.byteLength(name) <= nameBytesMax) return;
  throw new TenonError("invalid", `a ${what} name needs 1 to ${nameBytesMax} bytes, not ${Buffer.byteLength(name)}`);
}

/** Throws `invalid` when a topic cannot be declared so. */
export function checkDeclaration(
  name: string,
  declaration: TopicDeclaration,
  { partitionsMax, seal }: Pick<MessageCapabilities, "partitionsMax" | "seal">,
): void {
  const { partitions, groups = [], retentionMs, countMax, whenFull, sealed } = declaration;
  checkName("topic", name);
  for (const group of groups) checkName("group", group);
  if (!(Number.isInteger(partitions) && partitions >= 1 && partitions <= partitionsMax)) {
    throw new TenonError("invalid", `topic ${name} needs 1 to ${partitionsMax} partitions, not ${partitions}`);
  }
  if (retentionMs !== undefined && !(typeof retentionMs === "number" && retentionMs >= 0)) {
    throw new TenonError("invalid", `retentionMs of topic ${name} must be a number ≥ 0, not ${retentionMs}`);
  }
  if (countMax !== undefined && !(Number.isSafeInteger(countMax) && countMax >= 1)) {
    throw new TenonError("invalid", `countMax of topic ${name} must be a whole number ≥ 1, not ${countMax}`);
  }
  if (whenFull !== undefined && whenFull !== "refuse" && whenFull !== "evict") {
    throw new TenonError(
      "invalid",
      `whenFull of topic ${name} is "refuse" or "evict", not ${JSON.stringify(whenFull)}`,
    );
  }
  if (sealed !== undefined) checkSeal(name, sealed, seal);
}

function checkSeal(topic: string, sealed: string, seal: boolean): void {
  if (!seal) {
    throw new TenonError("unsupported", `topic ${topic} cannot be sealed: this engine has no seals`, {
      fields: { topic },
    });
  }
  if (typeof sealed === "string" && sealed.isWellFormed() && Buffer.byteLength(sealed) <= sealNoteBytesMax) return;
  throw new TenonError(
    "invalid",
    `the note of topic ${topic}'s seal must be well-formed text of at most ${sealNoteBytesMax} bytes`,
  );
}

/** What an append to a sealed topic is refused with. */
export function topicSealed(topic: string, sealed: string): TenonError {
  return new TenonError(
    "denied",
    `topic ${topic} is sealed and takes no more messages (${sealed}); publish where it has moved to, or open it by declaring it with sealed: ""`,
    { fields: { topic, sealed } },
  );
}
