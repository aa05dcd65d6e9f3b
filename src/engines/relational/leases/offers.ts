import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Lease, LeaseInstant } from "../../../contracts/leases.ts";
import type { Acquisition } from "../../shared/leases/acquisition.ts";
import type { HandedOver } from "../../shared/leases/lease-state.ts";

/** Whoever waits for a name in this process under a holder, to be granted it along with what makes it free. */
export type Offer = (name: string, holder: string) => Acquisition | undefined;

interface Offered {
  readonly name: string;
  readonly acquisition: Acquisition;
  readonly request: ValidRequest;
}

/** What one batch of operations offers to those who wait in this process. Whatever becomes of the batch, each of them hears of it. */
export class Offers {
  readonly #offer: Offer;
  readonly #offered: Offered[] = [];
  readonly #acquisitions = new Set<Acquisition>();
  readonly #leases = new Map<Acquisition, Lease>();

  constructor(offer: Offer) {
    this.#offer = offer;
  }

  /** Asked anew when the batch is tried again: what counts is what was asked last. */
  wanted(name: string, holder: string): ValidRequest | undefined {
    const acquisition = this.#offer(name, holder);
    if (acquisition === undefined) return undefined;
    // Offered already, it hears of both at once.
    if (this.#acquisitions.has(acquisition)) acquisition.passOver();
    this.#acquisitions.add(acquisition);
    const { request } = acquisition;
    this.#offered.push({ name, acquisition, request });
    return request;
  }

  /** The batch is durable, and has granted this; it was sent after `since`. */
  grant(name: string, granted: readonly HandedOver[], since: LeaseInstant): void {
    for (const { holder, token } of granted) {
      const offered = this.#offered.findLast((each) => each.name === name && each.request.holder === holder)!;
      const { ttlMs } = offered.request;
      this.#leases.set(offered.acquisition, { name, holder, token: BigInt(token), ttlMs, since });
    }
  }

  /** What was not granted by now is not granted by this batch, or nobody knows. */
  settle(): void {
    for (const acquisition of this.#acquisitions) {
      acquisition.handOver(this.#leases.get(acquisition));
    }
  }
}
