import type { TenonError } from "../../../contracts/errors.ts";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Lease } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import { differs } from "../../shared/leases/acquisitions.ts";
import type { Argument } from "../connection.ts";
import { driftMs } from "./drift.ts";
import type { QuorumServers, Votes } from "./quorum-servers.ts";
import { confirm, release, reserve } from "./scripts.ts";

export interface GrantParts {
  readonly world: World;
  readonly servers: QuorumServers;
  readonly name: string;
  readonly request: ValidRequest;
  readonly keys: readonly string[];
  readonly channel: string;
  /** Nobody wants it any more. */
  readonly isOver: () => boolean;
}

export type Reservation =
  /** `token`: no server of the majority has seen one as great. */
  | { readonly type: "reserved"; readonly token: bigint }
  /** A majority holds it for the holder already. */
  | { readonly type: "held"; readonly token: bigint }
  | { readonly type: "declined" };

/** Those who share a name at the same time may take each other's token so often. */
const confirmationsMax = 5;

/** One attempt to get a name: what it reserved is given back when no majority comes together. */
export class QuorumGrant {
  readonly #parts: GrantParts;
  readonly name: string;
  readonly request: ValidRequest;
  readonly isOver: () => boolean;
  readonly reservation: readonly Argument[];
  /** As the scripts take it. */
  readonly data: string;

  constructor(parts: GrantParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.request = parts.request;
    this.isOver = parts.isOver;
    const { holder, weight, capacity, ttlMs, data } = parts.request;
    this.data = data === undefined ? "0" : `1${data}`;
    this.reservation = [holder, weight, capacity, ttlMs, ttlMs + driftMs(ttlMs), this.data];
  }

  async reserve(): Promise<Reservation> {
    const { servers, keys, name, request } = this.#parts;
    const votes = await servers.ask(reserve, keys, this.reservation, isDecided);
    const { majority } = votes;
    const held = heldToken(votes);
    if (held !== undefined) return { type: "held", token: held };
    const others = votes.saying("differs");
    const own = [...votes.saying("granted"), ...votes.saying("again")];
    if (own.length >= majority) {
      const greatest = Math.max(...own.map(([, reply]) => Number(String(reply[1]))));
      return { type: "reserved", token: BigInt(greatest) + 1n };
    }
    this.giveBack();
    if (others.length > 0 && others.length + votes.failures.size + votes.unheard >= majority) {
      const [, weight, capacity] = others[0]![1];
      throw differs(name, "owns", Number(String(weight)), Number(String(capacity)), request);
    }
    if (votes.replies.size + votes.unheard < majority) throw this.#unavailable(votes);
    return { type: "declined" };
  }

  /** The name is the holder's when a majority has confirmed the same token; the time to live counts from then. */
  async confirm(first: bigint): Promise<{ readonly lease: Lease; readonly votes: Votes } | undefined> {
    const { world, servers, keys, name, request, channel, isOver } = this.#parts;
    const { holder, ttlMs } = request;
    let token = first;
    for (let round = 1; ; round++) {
      const since = { monotonic: world.clock.monotonic(), wall: world.clock.now() };
      const args = [holder, String(token), ttlMs + driftMs(ttlMs), channel];
      const votes = await servers.ask(confirm, keys, args, (each) => {
        const agreed = each.of("ok");
        return agreed >= each.majority || agreed + each.unheard < each.majority;
      });
      const agreed = votes.of("ok");
      if (agreed >= votes.majority) return { lease: { name, holder, token, ttlMs, since }, votes };
      const stale = votes.saying("stale");
      if (agreed + stale.length < votes.majority || round === confirmationsMax) {
        servers.tell(servers.all, release, keys, [holder, channel, ""]);
        if (votes.replies.size + votes.unheard < votes.majority) throw this.#unavailable(votes);
        return undefined;
      }
      const greatest = Math.max(Number(token), ...stale.map(([, reply]) => Number(String(reply[1]))));
      token = BigInt(greatest) + 1n;
      await world.timers.sleep(world.random.float() * 5 * round);
      if (isOver()) return undefined;
    }
  }

  /** Whatever is reserved and not confirmed, wherever it may be. */
  giveBack(): void {
    const { servers, keys, request, channel } = this.#parts;
    servers.tell(servers.all, release, keys, [request.holder, channel, "1"]);
  }

  #unavailable(votes: Votes): TenonError {
    return this.#parts.servers.unavailable(`acquiring ${this.#parts.name}`, votes);
  }
}

function isDecided(votes: Votes): boolean {
  const { majority, unheard } = votes;
  const granted = votes.of("granted");
  // Whether it is the holder's already is told by all who can be reached.
  if (votes.of("again") + votes.of("differs") > 0) return heldToken(votes) !== undefined;
  return granted >= majority || granted + unheard < majority;
}

/** Under which a majority holds it for the holder. */
function heldToken(votes: Votes): bigint | undefined {
  const counts = new Map<string, number>();
  for (const [, reply] of votes.saying("again")) {
    const token = String(reply[2]);
    const count = (counts.get(token) ?? 0) + 1;
    if (count >= votes.majority) return BigInt(token);
    counts.set(token, count);
  }
  return undefined;
}
