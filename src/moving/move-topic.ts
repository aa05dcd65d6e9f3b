import { checkEngineAs } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import { internalPrefix, retryTopicOf } from "../contracts/message-conventions.ts";
import type { MessagingEngine } from "./engines.ts";
import { RetriesMove } from "./retries-move.ts";
import { type MoveProgress, TopicMove, type TopicMoveParts } from "./topic-move.ts";

export interface MoveOptions {
  /** Its messages must have `seal` and `replay`. */
  readonly from: MessagingEngine;
  readonly to: MessagingEngine;
  readonly topic: string;
  /** How many messages may still be missing when publishers are held up, which lasts until these are copied; 1,000 when left out. */
  readonly lagMax?: number | undefined;
  /** How often it looks how far things are, in milliseconds; 250 when left out. */
  readonly pollMs?: number | undefined;
  /** Interrupts the move. Calling `moveTopic` again goes on with it. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: MoveProgress) => void) | undefined;
}

export interface MoveReport {
  /** The topic, and those that belong to it: dead letters and retries of its groups. */
  readonly topics: readonly string[];
  /** How many messages this run has copied. */
  readonly copiedCount: number;
}

/**
 * Copies a topic with its groups' progress, its dead letters and its retries to another engine while publishers and consumers run, then switches them over. They must use it
 * through `moving(from, to)`, or are refused (`denied`) from the switch on. Resolves when everybody has moved and nothing that is delayed is left behind.
 *
 * Interrupted at any point, also by a crash, it is to be called again and goes on. `unsupported`: an engine lacks a power. `conflict`: another move is under way, or the topic is on the
 * other engine already.
 */
export async function moveTopic(options: MoveOptions): Promise<MoveReport> {
  const { from, to, topic, signal = new AbortController().signal, onProgress = () => undefined } = options;
  for (const [name, engine] of Object.entries({ from, to })) checkEngineAs("moveTopic()", name, engine, ["messages"]);
  const { lagMax = 1_000, pollMs = 250 } = options;
  for (const [name, value] of Object.entries({ lagMax, pollMs })) {
    if (typeof value === "number" && value >= (name === "pollMs" ? 1 : 0) && Number.isFinite(value)) continue;
    throw new TenonError("invalid", `${name} must be a number, not ${value}`);
  }
  signal.throwIfAborted();
  checkPowers(topic, from, to);
  const parts: TopicMoveParts = { from, to, topic, lagMax, pollMs, signal, onProgress };
  const moves: (TopicMove | RetriesMove)[] = [];
  const topics: string[] = [];
  try {
    for await (const [name, move] of movesOf(parts)) {
      moves.push(move);
      topics.push(name);
      await move.switchOver();
    }
    await Promise.all(moves.map((move) => move.forward()));
  } finally {
    await Promise.all(moves.map((move) => move.stop()));
  }
  return { topics, copiedCount: moves.reduce((sum, move) => sum + move.copiedCount, 0) };
}

/** The topic itself comes first: its consumers write to the others. */
async function* movesOf(parts: TopicMoveParts): AsyncGenerator<readonly [string, TopicMove | RetriesMove]> {
  const { from, to, topic } = parts;
  yield [topic, await TopicMove.begun(parts)];
  const { groups, partitions } = await from.messages.describe(topic);
  const retries = new Map(groups.map(({ group }) => [retryTopicOf(topic, group), group]));
  for (const name of await from.messages.topics()) {
    if (!name.startsWith(internalPrefix(topic))) continue;
    const group = to.messages.capabilities.delay ? undefined : retries.get(name);
    const move =
      group === undefined
        ? await TopicMove.begun({ ...parts, topic: name })
        : new RetriesMove({ ...parts, group, partitions: partitions.length });
    yield [name, move];
  }
}

function checkPowers(topic: string, from: MessagingEngine, to: MessagingEngine): void {
  if (typeof topic !== "string" || topic.length === 0) {
    throw new TenonError("invalid", "the topic to be moved must have a name");
  }
  if (from.messages === to.messages) throw new TenonError("invalid", "a topic is moved from one engine to another one");
  for (const power of ["seal", "replay"] as const) {
    if (from.messages.capabilities[power]) continue;
    throw new TenonError(
      "unsupported",
      `a topic can only be moved from an engine with ${power}, which the one that has topic ${topic} has not`,
      { fields: { topic, power } },
    );
  }
}
