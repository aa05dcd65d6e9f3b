import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { LeaseInstant } from "../../../contracts/leases.ts";
import type { Acquisition } from "../../shared/leases/acquisition.ts";
import type { Argument } from "../connection.ts";
import { ownerOf, shareOf, ttlOf } from "./names.ts";

/** How many are offered a name at most, as each makes the release longer. The others are told that it is their turn. */
const countMax = 64;

interface Offer {
  readonly acquisition: Acquisition;
  /** As it stood when it was offered. */
  readonly request: ValidRequest;
}

/**
 * A name, offered to those of this process who wait for it by the release of a holder of this process: whose turn it is then gets it in the same step, and need not ask.
 * Whatever becomes of the release, each of them hears of it.
 */
export class Offers {
  readonly #offers: readonly Offer[];

  private constructor(offers: readonly Offer[]) {
    this.#offers = offers;
  }

  /** To as many as could hold the name together; `undefined` when nobody waits. */
  static to(acquisitions: Iterable<Acquisition>): Offers | undefined {
    let offers: Offer[] | undefined;
    let weight = 0;
    for (const acquisition of acquisitions) {
      const { request } = acquisition;
      if (!acquisition.waits) continue;
      weight += request.weight;
      if (weight > request.capacity || offers?.length === countMax) break;
      if (!acquisition.offer()) continue;
      offers ??= [];
      offers.push({ acquisition, request });
    }
    return offers && new Offers(offers);
  }

  /** What the script is told of them. */
  get args(): readonly Argument[] {
    const args: Argument[] = [this.#offers.length];
    for (const { request } of this.#offers) args.push(ownerOf(request.holder), shareOf(request), ttlOf(request));
    return args;
  }

  /** The script answered with a token for each, 0 for those who were not granted the name; it was sent after `since`. */
  grant(name: string, tokens: readonly number[], since: LeaseInstant): void {
    for (const [index, { acquisition, request }] of this.#offers.entries()) {
      const token = tokens[index] ?? 0;
      const { holder, ttlMs } = request;
      if (token === 0) acquisition.passOver();
      // Whoever has joined it meanwhile may have asked for another time, or said something else.
      else if (acquisition.request !== request) acquisition.handOver(undefined);
      else acquisition.handOver({ name, holder, token: BigInt(token), ttlMs, since });
    }
  }

  /** Nobody knows what came of it. */
  lose(): void {
    for (const { acquisition } of this.#offers) acquisition.handOver(undefined);
  }
}
