import type { Batch, Held, LaneCommit, NewMessage } from "../contracts/messages.ts";
import type { Delivery } from "./delivery.ts";
import { PositionList } from "./position-list.ts";
import type { Amount } from "./prefetched.ts";

/** A message that is settled here because it goes on elsewhere: to the dead letters or to the retry topic. */
export interface Move {
  readonly delivery: Delivery;
  readonly target: "dead" | "retry";
  readonly message: NewMessage;
}

/** What has happened in a lane since the last commit. */
export class Progress {
  settled = new PositionList();
  /** Of the settled ones those that count against the prefetch. */
  countedSettled: Amount = { count: 0, bytes: 0 };
  /** Whose failures or deliveries are to be recorded. */
  records: Delivery[] = [];
  moves: Move[] = [];

  get isEmpty(): boolean {
    return this.settled.length === 0 && this.records.length === 0 && this.moves.length === 0;
  }

  /** Takes everything; of the moves only as many as fit into one change of the engine. */
  take(movesMax: number): Progress {
    const taken = new Progress();
    taken.settled = this.settled;
    taken.countedSettled = this.countedSettled;
    taken.records = this.records;
    this.settled = new PositionList(taken.settled.length);
    this.countedSettled = { count: 0, bytes: 0 };
    this.records = [];
    let sizeBytes = 0;
    let count = 0;
    for (const { message } of this.moves) {
      sizeBytes += message.body.length + (message.key?.length ?? 0) * 3;
      if (count > 0 && (sizeBytes > moveBytesMax || count >= movesMax)) break;
      count += 1;
    }
    taken.moves = this.moves.splice(0, count);
    return taken;
  }

  change(batchOf: (target: Move["target"], messages: readonly NewMessage[]) => Batch): LaneCommit {
    const held = this.records.map(heldOf);
    if (this.moves.length === 0) return { settled: this.settled.positions, held };
    const moved = this.moves.map((move) => move.delivery.stored.position);
    const settled = [...this.settled.positions, ...moved];
    const appends: Batch[] = [];
    for (const target of ["dead", "retry"] as const) {
      const messages = this.moves.filter((move) => move.target === target).map((move) => move.message);
      if (messages.length > 0) appends.push(batchOf(target, messages));
    }
    return { settled, held, appends };
  }
}

/** Far below what any engine can store in one atomic change, unless a single message is larger. */
const moveBytesMax = 1024 * 1024;

function heldOf(delivery: Delivery): Held {
  return {
    position: delivery.stored.position,
    failures: delivery.failures,
    deliveries: delivery.recorded,
    dueAt: delivery.dueAt,
  };
}
