import type { LeaseDescription, LeaseHolder } from "../../../contracts/leases.ts";
import { driftMs } from "./drift.ts";
import type { Votes } from "./quorum-servers.ts";

interface Share {
  readonly holder: LeaseHolder;
  readonly ends: { readonly at: number; readonly leftMs: number }[];
}

/** Who may hold a name, as far as those that answered say: a majority has it, counting those that did not answer. */
export function describedBy(
  name: string,
  votes: Votes,
): { readonly description: LeaseDescription; readonly nextEndMs: number } {
  const shares = new Map<string, Share>();
  for (const [, reply] of votes.saying("ok")) addShares(shares, reply);
  const silent = votes.count - votes.replies.size - votes.away;
  const holders: LeaseHolder[] = [];
  let nextEndMs = Number.POSITIVE_INFINITY;
  for (const { holder, ends } of shares.values()) {
    if (ends.length + silent < votes.majority) continue;
    // It is held until fewer than a majority hold it.
    ends.sort((one, other) => other.at - one.at);
    const end = ends[Math.min(votes.majority, ends.length) - 1]!;
    nextEndMs = Math.min(nextEndMs, end.leftMs);
    holders.push({ ...holder, expiresAt: end.at });
  }
  holders.sort((one, other) => (one.token < other.token ? -1 : 1));
  return { description: { name, holders, waiting: 0 }, nextEndMs: Math.max(1, nextEndMs) };
}

function addShares(shares: Map<string, Share>, [, nowText, ...parts]: readonly Buffer[]): void {
  const now = Number(String(nowText));
  for (let at = 0; at < parts.length; at += 6) {
    const [holder, token, weight, ttl, till, data] = parts.slice(at, at + 6).map(String) as [string, ...string[]];
    const key = `${token} ${holder}`;
    let share = shares.get(key);
    if (share === undefined) {
      const shown = data!.startsWith("1") ? data!.slice(1) : undefined;
      share = {
        holder: { holder, token: BigInt(token!), weight: Number(weight), data: shown, expiresAt: 0 },
        ends: [],
      };
      shares.set(key, share);
    }
    const keptUntil = Number(till);
    share.ends.push({ at: keptUntil - driftMs(Number(ttl)), leftMs: keptUntil - now });
  }
}
