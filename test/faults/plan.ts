/** What goes wrong in one run, drawn from a seed, as data that can be printed and replayed. */
import { below } from "../durability/reports.ts";
import type { Direction } from "./tcp-proxy.ts";

/** `pick` chooses among the connections that are open then. */
export type Fault =
  | { readonly type: "cut"; readonly pick: number }
  | { readonly type: "cutAll" }
  | { readonly type: "stall"; readonly pick: number; readonly direction: Direction; readonly ms: number }
  | {
      readonly type: "slow";
      readonly pick: number;
      readonly direction: Direction;
      readonly bytesPerSecond: number;
      readonly ms: number;
    }
  | { readonly type: "resetAfter"; readonly pick: number; readonly direction: Direction; readonly bytes: number }
  /** The connections that are made within this time break while they are being made. */
  | { readonly type: "resetNew"; readonly direction: Direction; readonly bytes: number; readonly ms: number }
  | { readonly type: "loseReply"; readonly pick: number }
  /** Of all connections at once, so that several changes have an unknown outcome together. */
  | { readonly type: "loseReplies" }
  | { readonly type: "drop"; readonly pick: number; readonly direction: Direction }
  | { readonly type: "halfOpen"; readonly pick: number; readonly left: "client" | "server" }
  | { readonly type: "refuse"; readonly ms: number }
  /** One process reaches nobody; what it sends meanwhile arrives later. */
  | { readonly type: "isolate"; readonly pick: number; readonly ms: number }
  /** SIGKILL, and started again after so long. */
  | { readonly type: "kill"; readonly ms: number }
  /** SIGSTOP, and SIGCONT after so long. */
  | { readonly type: "pause"; readonly ms: number };

export interface Step {
  /** After the step before it was over. */
  readonly afterMs: number;
  readonly fault: Fault;
}

export interface PlanOptions {
  readonly seed: number;
  readonly steps: number;
  /** Outages last up to so long; some are longer than what the engine waits for an answer, and some are not. */
  readonly outageMsMax: number;
  /** Which faults the plan may hold; a few of them, drawn, when left out, so that one run stresses one thing and the next another. */
  readonly types?: readonly Fault["type"][] | undefined;
}

/** Twice what asks for more than one of it. */
const allTypes: readonly Fault["type"][] = [
  ...["cut", "cutAll", "stall", "slow", "resetAfter", "resetNew"],
  ...["loseReply", "loseReplies", "drop", "halfOpen", "isolate", "isolate", "refuse", "kill", "pause"],
] as readonly Fault["type"][];

export function drawPlan({ seed, steps, outageMsMax, types }: PlanOptions): readonly Step[] {
  const draw = below(seed);
  const used = types ?? allTypes.filter(() => draw(2) === 0);
  const among = used.length > 0 ? used : allTypes;
  return Array.from({ length: steps }, () => ({
    afterMs: draw(4) === 0 ? 0 : draw(250),
    fault: drawFault(among[draw(among.length)]!, draw, outageMsMax),
  }));
}

function drawFault(type: Fault["type"], draw: (bound: number) => number, outageMsMax: number): Fault {
  const pick = draw(1_000);
  const direction: Direction = draw(2) === 0 ? "request" : "reply";
  const ms = draw(3) === 0 ? draw(outageMsMax) : draw(Math.ceil(outageMsMax / 5));
  switch (type) {
    case "cut":
    case "loseReply":
      return { type, pick };
    case "cutAll":
    case "loseReplies":
      return { type };
    case "stall":
      return { type, pick, direction, ms };
    case "slow":
      return { type, pick, direction, bytesPerSecond: 200 + draw(20_000), ms };
    case "resetAfter":
      return { type, pick, direction, bytes: 1 + draw(draw(2) === 0 ? 30 : 3_000) };
    case "isolate":
      return { type, pick, ms: draw(outageMsMax) };
    case "resetNew":
      return { type, direction, bytes: 1 + draw(400), ms: draw(Math.ceil(outageMsMax / 5)) };
    case "drop":
      return { type, pick, direction };
    case "halfOpen":
      return { type, pick, left: draw(2) === 0 ? "client" : "server" };
    default:
      return { type, ms };
  }
}
