import { isCode, TenonError } from "../contracts/errors.ts";
import type { Lane, Membership, NewMessage, SeekTarget, Stored } from "../contracts/messages.ts";
import type { MessagingEngine } from "./engines.ts";
import { LaneCopier } from "./lane-copier.ts";
import { PositionIndex } from "./position-index.ts";
import { repeating } from "./repeating.ts";

/** The group as which a move reads a topic. It is there for as long as the move is under way. */
export const moveGroup = "tenon..move";
const sessionMs = 10_000;

export interface TopicCopierParts {
  readonly from: MessagingEngine;
  readonly to: MessagingEngine;
  readonly topic: string;
  readonly partitions: number;
  /** As which group it is read. */
  readonly group: string;
  /** The topic that the copies go to. */
  readonly target: string;
  readonly copyOf: (stored: Stored) => NewMessage;
  /** Whether a second copy of the same message would not be recognised any more. */
  readonly isForwarding: () => boolean;
  readonly signal: AbortSignal;
  /** Called when it cannot go on. */
  readonly failed: (error: unknown) => void;
}

/** Copies a topic for as long as it runs, in every partition. */
export class TopicCopier {
  readonly #parts: TopicCopierParts;
  readonly #indexes: readonly PositionIndex[];
  readonly #stopped = new AbortController();
  readonly #lanes = new Set<Promise<void>>();
  #membership: Membership | undefined;
  #taking: Promise<void> | undefined;
  #isIndexed = true;
  count = 0;

  constructor(parts: TopicCopierParts) {
    this.#parts = parts;
    this.#indexes = Array.from({ length: parts.partitions }, () => new PositionIndex());
  }

  index(partition: number): PositionIndex {
    return this.#indexes[partition]!;
  }

  /** From now on others publish there, too, and nobody may be sent to a copy past what they publish. */
  endIndex(): void {
    this.#isIndexed = false;
  }

  /** `beginning`: where the copies begin, unless a former run has begun them. `conflict` when another move of the topic is under way. */
  async start(beginning: SeekTarget = "earliest"): Promise<void> {
    const { from, topic, group, signal } = this.#parts;
    const { world, messages } = from;
    // Two of one agreement could share the partitions: only one move may be under way.
    const join = { windowMax: Math.min(10_000, messages.capabilities.windowMax), agreement: world.random.uuid() };
    const session = Math.max(sessionMs, messages.capabilities.sessionMsMin);
    const until = world.clock.monotonic() + 3 * session;
    const options = { ...join, sessionMs: session, revokeMs: session, from: beginning };
    // A move that died is a member until its session ends.
    const waits = (error: unknown): boolean => isCode(error, "conflict") && world.clock.monotonic() < until;
    try {
      this.#membership = await repeating(world, () => messages.join(topic, group, options), signal, waits);
    } catch (error) {
      if (!isCode(error, "conflict")) throw error;
      throw new TenonError("conflict", `another move of topic ${topic} is under way; wait for it, or end it first`, {
        fields: { topic },
        cause: error,
      });
    }
    this.#taking = this.#takeLanes(this.#membership);
  }

  async #takeLanes(membership: Membership): Promise<void> {
    const { from, failed } = this.#parts;
    const { signal } = this.#stopped;
    try {
      while (!signal.aborted) {
        const lane = await repeating(from.world, () => membership.nextLane({ signal }), signal, mayComeBack);
        const running = this.#copied(lane).catch(failed);
        this.#lanes.add(running);
        void running.then(() => this.#lanes.delete(running));
      }
    } catch (error) {
      if (!signal.aborted) failed(error);
    }
  }

  #copied(lane: Lane): Promise<void> {
    const { to, target, copyOf, isForwarding } = this.#parts;
    const index = this.index(lane.partition);
    const stored = (position: bigint, copy: bigint | undefined): void => {
      if (this.#isIndexed) index.note(position, copy);
    };
    const copied = (count: number): void => {
      this.count += count;
    };
    const { signal } = this.#stopped;
    return new LaneCopier({ lane, to, target, copyOf, stored, signal, copied, isForwarding }).run();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#taking;
    await Promise.all(this.#lanes);
    await this.#membership?.leave().catch(() => undefined);
  }
}

/** A membership whose session has ended goes on as a new one. */
function mayComeBack(error: unknown): boolean {
  return !isCode(error, "closed", "not-found");
}
