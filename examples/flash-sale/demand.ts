import { itemCount, itemName, type PurchaseRequest, type SaleOptions } from "./model.ts";
import { seededRandom } from "./random.ts";

/** A purchase that a simulated buyer will try, `atMs` after the opening. */
export interface Purchase extends PurchaseRequest {
  readonly atMs: number;
}

/** How many of the requests stand before the shop when it opens. */
const openingShare = 0.6;
const waveCount = 8;

/**
 * Who wants what, and when: goods by Zipf's law (the first item is wanted by more than a quarter), eager buyers who try again
 * and again, and a crowd at the opening that is followed by ever smaller waves. One in a thousand asks for a wrong quantity.
 */
export function demand(options: Pick<SaleOptions, "requests" | "buyers" | "seed">): readonly Purchase[] {
  const random = seededRandom(options.seed);
  const itemOf = zipf(itemCount);
  const arrivals = arrivalTimes(options.requests);
  return arrivals.map((atMs, index) => ({
    requestId: `${options.seed.toString(36)}-${index.toString(36)}`,
    buyer: `buyer-${Math.floor(random() ** 1.5 * options.buyers)}`,
    item: itemName(itemOf(random())),
    quantity: random() < 0.001 ? 5 : 1,
    atMs,
  }));
}

/** The waves come closer together in a smaller sale, so that it does not last longer than its requests need. */
function arrivalTimes(requests: number): readonly number[] {
  const waveIntervalMs = Math.min(250, (requests / 50_000) * 250);
  const times: number[] = [];
  let left = requests - Math.round(requests * openingShare);
  for (let index = left; index < requests; index += 1) times.push(0);
  for (let wave = 1; wave <= waveCount; wave += 1) {
    const size = wave === waveCount ? left : Math.ceil(left / 2);
    for (let index = 0; index < size; index += 1) times.push(wave * waveIntervalMs);
    left -= size;
  }
  return times;
}

/** Maps a uniform number in [0, 1) to a rank: rank r is 1 / (r + 1) as likely as the first. */
function zipf(count: number): (uniform: number) => number {
  const cumulative: number[] = [];
  let sum = 0;
  for (let rank = 0; rank < count; rank += 1) {
    sum += 1 / (rank + 1);
    cumulative.push(sum);
  }
  return (uniform) => {
    const rank = cumulative.findIndex((bound) => uniform * sum < bound);
    return rank === -1 ? count - 1 : rank;
  };
}
