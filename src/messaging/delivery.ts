import type { Lane, Stored } from "../contracts/messages.ts";
import { keepShape } from "../world/kept-shapes.ts";
import type { DeliveryContext } from "./context.ts";
import {
  failuresHeader,
  originPartitionHeader,
  originPositionHeader,
  originTopicHeader,
  publishedAtHeader,
} from "./headers.ts";
import type { KeyQueue, Queued } from "./key-order.ts";
import type { LaneWorker } from "./lane-worker.ts";
import type { Decision } from "./verdict.ts";

/**
 * `queued`: behind its key, or ready; `recording`: its delivery is being recorded before it is made; `running`: its handler
 * runs; `returning`: its recorded delivery is not made and is being taken back; `decided`: its batch is over, and it waits for what came before it in its key; `failed`: waits for its retry; `over`: nothing more
 * happens with it here.
 */
export type DeliveryState = "queued" | "recording" | "running" | "returning" | "decided" | "failed" | "over";

/** Where a message was first stored: differs from where it is now for the copies that Tenon makes. */
export interface Origin {
  readonly topic: string;
  readonly partition: number;
  readonly position: bigint;
  readonly publishedAt: number;
}

/** One message in the hands of this consumer, under one grant of its lane. */
export class Delivery implements Queued {
  readonly owner: LaneWorker;
  readonly stored: Stored;
  behind: Delivery | undefined = undefined;
  queue: KeyQueue | undefined = undefined;
  state: DeliveryState = "queued";
  /** Recorded failures. */
  failures: number;
  /** Recorded deliveries without outcome. */
  recorded: number;
  /** Not before this instant of the engine's clock. */
  dueAt: number;
  /** The lane has, or is getting, an entry of what is remembered of it. */
  held = false;
  /** Counts against the lane's prefetch. */
  counted = true;
  /** The number of the latest delivery within the grant. */
  number = 0;
  context: DeliveryContext | undefined = undefined;
  /** What its batch made of it, while it is `decided`. */
  decision: Decision | undefined = undefined;

  constructor(owner: LaneWorker, stored: Stored, failures: number, recorded: number, dueAt: number) {
    this.owner = owner;
    this.stored = stored;
    this.failures = failures;
    this.recorded = recorded;
    this.dueAt = dueAt;
  }

  /** An owner may have died with it: its deliveries are recorded before they are made. */
  get suspect(): boolean {
    const { owner, recorded, stored } = this;
    return recorded > 0 || (owner.hasSuspects && stored.position < owner.lane.suspectBelow);
  }

  /** What it takes in memory, about. */
  get bytes(): number {
    return sizeOf(this.stored);
  }

  get origin(): Origin {
    return originOf(this.owner.lane, this.stored);
  }
}

keepShape(new Delivery(undefined as never, undefined as never, 0, 0, 0));

/** Making the body of a stored message may cost more than its size. */
export function sizeOf(stored: Stored): number {
  return stored.sizeBytes ?? stored.body.length;
}

export function originOf(lane: Pick<Lane, "topic" | "partition">, stored: Stored): Origin {
  const headers = stored.headers;
  const topic = headers?.[originTopicHeader];
  if (headers === undefined || topic === undefined) {
    const { position, publishedAt } = stored;
    return { topic: lane.topic, partition: lane.partition, position, publishedAt };
  }
  return {
    topic,
    partition: Number(headers[originPartitionHeader]),
    position: BigInt(headers[originPositionHeader] ?? 0),
    publishedAt: Number(headers[publishedAtHeader]),
  };
}

/** The failures that a copy carries from the lane that it comes from. */
export function carriedFailures(stored: Stored): number {
  return Number(stored.headers?.[failuresHeader] ?? 0);
}
