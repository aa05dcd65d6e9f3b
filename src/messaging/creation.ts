import { isCode, TenonError } from "../contracts/errors.ts";
import type { MessageCapabilities, MessageEngine, TopicDeclaration } from "../contracts/messages.ts";

/** Whether using a topic makes it. */
export type TopicCreation = "ifMissing" | "never";

export function checkCreation(creation: TopicCreation): TopicCreation {
  if (creation === "ifMissing" || creation === "never") return creation;
  throw new TenonError("invalid", `create is "ifMissing" or "never", not ${JSON.stringify(creation)}.`);
}

/** Sees to it that the topic is there as the program expects it: makes it, or only looks. */
export async function ensureTopic(
  engine: MessageEngine,
  topic: string,
  creation: TopicCreation,
  declaration: TopicDeclaration,
): Promise<void> {
  if (creation === "ifMissing") return await engine.declare(topic, declaration);
  const next = `create it by topicAdministration(engine).create("${topic}", …) first, or use it with create: "ifMissing"`;
  const description = await engine.describe(topic).catch((error: unknown) => {
    if (!isCode(error, "not-found")) throw error;
    throw new TenonError("not-found", `Topic "${topic}" was never created, and using it does not create it: ${next}.`, {
      fields: { topic },
      cause: error,
    });
  });
  const partitions = description.partitions.length;
  if (partitions !== declaration.partitions) {
    throw new TenonError(
      "conflict",
      `Topic "${topic}" has ${partitions} partitions, not ${declaration.partitions}; give partitions: ${partitions}.`,
      { fields: { topic, partitions } },
    );
  }
  const missing = declaration.groups?.find((group) => !description.groups.some((each) => each.group === group));
  if (missing === undefined) return;
  throw new TenonError("not-found", `Topic "${topic}" has no group "${missing}": create the topic with it.`, {
    fields: { topic, group: missing },
  });
}

/** Refuses at once what the engine could only refuse at the first use. */
export function checkCountLimit(
  topic: string,
  { countMax, whenFull }: Pick<TopicDeclaration, "countMax" | "whenFull">,
  { countLimits }: MessageCapabilities,
): void {
  const wanted = whenFull === "evict" ? "evict" : countMax === undefined ? undefined : "refuse";
  if (wanted === undefined || countLimits === "evict" || countLimits === wanted) return;
  throw new TenonError(
    "unsupported",
    `Topic "${topic}" asks for ${wanted === "evict" ? 'whenFull: "evict"' : "countMax"}, which this engine does not have (countLimits is "${countLimits}"). Leave it out, or use another engine.`,
    { fields: { topic } },
  );
}
