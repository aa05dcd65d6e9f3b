import type { HandingOver } from "../../shared/leases/lease-state.ts";
import type { LeaseRow } from "./lease-row.ts";

/** What is done to a name under its lock, or as if. `handing` also gives the tokens that it needs itself. */
export type Operation<T> = (row: LeaseRow, now: number, handing: HandingOver) => T;

export interface Asked {
  /** It may take a token. */
  readonly grants: boolean;
  /** It gives up what a holder has, and answers nothing: where nobody else has or wants the name, what comes of it is the same at every instant. */
  readonly givesUp: boolean;
  readonly operation: Operation<unknown>;
}

/** More was granted than there are tokens at hand; nothing counts that was done up to then. */
export class OutOfTokens extends Error {}

/** Names may hold what the server's text cannot. */
export function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

/** Whom a change of a name has to be told, and what. */
export function noticesOf(
  name: string,
  row: LeaseRow,
  now: number,
  watchChannel: string,
): readonly (readonly string[])[] {
  const { state } = row;
  const turns = state.turns.map(({ channel, holder }) => [channel, `${base64(name)} ${base64(holder)}`]);
  return state.holdersChanged && row.isWatched(now) ? [...turns, [watchChannel, base64(name)]] : turns;
}

export function readTurnNotice(payload: string): { readonly name: string; readonly holder: string } {
  const [name = "", holder = ""] = payload.split(" ").map((part) => Buffer.from(part, "base64").toString());
  return { name, holder };
}
