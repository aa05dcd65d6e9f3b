import type { RateDecision, RateRule } from "../../../contracts/rates.ts";
import { allowed, decodeNumbers, encodeNumbers, refused } from "../../shared/rates/outcomes.ts";
import type { EntryStore } from "../key-values/entry-store.ts";
import type { Effect } from "../key-values/key-value-records.ts";

type SlidingLogRule = Extract<RateRule, { type: "slidingLog" }>;

/** So many requests stand in the head, which every decision writes anew, and in each block, which is written once. */
const blockPairs = 32;

interface Block {
  readonly number: number;
  readonly numbers: readonly number[];
}

/**
 * The instants of what was taken, as pairs of instant and units. A long log must not be written anew by every decision: the newest pairs
 * stand in the key's head, older ones in blocks of their own, which are written once and deleted when their time has passed.
 *
 * The head: the first block's number · how many of its pairs are out · the number that the next block gets · units counted · pairs.
 */
class Log {
  readonly #states: EntryStore;
  readonly #key: string;
  #firstBlock = 0;
  /** Pairs of the first block, or of the head when there are no blocks, that are not counted any more. */
  #skip = 0;
  #nextBlock = 0;
  /** Units. */
  counted = 0;
  #tail: number[] = [];
  readonly #effects: Effect[] = [];
  /** The block that was read last. */
  #block: Block | undefined;
  /** The block that this decision has ended; it is not stored yet. */
  #ended: Block | undefined;

  constructor(states: EntryStore, key: string, head: string | undefined) {
    this.#states = states;
    this.#key = key;
    if (head === undefined) return;
    const [firstBlock, skip, nextBlock, counted, ...tail] = decodeNumbers(head);
    this.#firstBlock = firstBlock!;
    this.#skip = skip!;
    this.#nextBlock = nextBlock!;
    this.counted = counted!;
    this.#tail = tail;
  }

  /** Of the newest pair; it stands in the head. */
  get newest(): number {
    return this.#tail.at(-2) ?? Number.NEGATIVE_INFINITY;
  }

  /** The oldest pair's instant and units. */
  get oldest(): readonly [at: number, units: number] | undefined {
    for (;;) {
      const numbers = this.#numbersOf(this.#firstBlock);
      // Its time had passed for good, and it was forgotten on its own.
      if (numbers === undefined) this.#recount();
      else if (this.#skip * 2 < numbers.length) return [numbers[this.#skip * 2]!, numbers[this.#skip * 2 + 1]!];
      else if (this.#firstBlock === this.#nextBlock) return undefined;
      else this.#dropFirst();
    }
  }

  dropOldest(): void {
    this.counted -= this.oldest?.[1] ?? 0;
    this.#skip += 1;
  }

  /** Every pair that counts, oldest first. */
  *pairs(): Generator<readonly [at: number, units: number]> {
    for (let block = this.#firstBlock; block <= this.#nextBlock; block++) {
      const numbers = this.#numbersOf(block) ?? [];
      for (let at = block === this.#firstBlock ? this.#skip * 2 : 0; at < numbers.length; at += 2) {
        yield [numbers[at]!, numbers[at + 1]!];
      }
    }
  }

  add(now: number, units: number, windowMs: number): void {
    this.counted += units;
    if (this.#firstBlock === this.#nextBlock) {
      this.#tail.splice(0, this.#skip * 2);
      this.#skip = 0;
    }
    if (this.newest === now) {
      this.#tail[this.#tail.length - 1]! += units;
      return;
    }
    if (this.#tail.length === blockPairs * 2) this.#endBlock(windowMs);
    this.#tail.push(now, units);
  }

  /** The instant at which at most `most` units are counted, if none come. */
  freeAt(most: number, windowMs: number): number {
    let { counted } = this;
    for (const [at, units] of this.pairs()) {
      counted -= units;
      if (counted <= most) return at + windowMs;
    }
    return Number.NEGATIVE_INFINITY;
  }

  /** Everything counts as taken now: the clock was set back, and its instants are still to come. */
  gather(now: number): void {
    const { counted } = this;
    while (this.#firstBlock < this.#nextBlock) this.#dropFirst();
    this.#tail = counted > 0 ? [now, counted] : [];
    this.#skip = 0;
  }

  /** What makes the log last, with its head ending when all of it has. */
  effects(windowMs: number): readonly Effect[] {
    const numbers = [this.#firstBlock, this.#skip, this.#nextBlock, this.counted, ...this.#tail];
    const expiresAt = this.newest + windowMs;
    return [...this.#effects, { type: "put", key: headKey(this.#key), value: encodeNumbers(numbers), expiresAt }];
  }

  #numbersOf(block: number): readonly number[] | undefined {
    if (block === this.#nextBlock) return this.#tail;
    if (this.#ended?.number === block) return this.#ended.numbers;
    if (this.#block?.number === block) return this.#block.numbers;
    const value = this.#states.get(blockKey(this.#key, block))?.value;
    if (value === undefined) return undefined;
    this.#block = { number: block, numbers: decodeNumbers(value) };
    return this.#block.numbers;
  }

  #dropFirst(): void {
    this.#effects.push({ type: "delete", key: blockKey(this.#key, this.#firstBlock) });
    this.#firstBlock += 1;
    this.#skip = 0;
  }

  #recount(): void {
    this.#firstBlock += 1;
    this.#skip = 0;
    this.counted = 0;
    for (const [, units] of this.pairs()) this.counted += units;
  }

  #endBlock(windowMs: number): void {
    const key = blockKey(this.#key, this.#nextBlock);
    const expiresAt = this.newest + windowMs;
    this.#effects.push({ type: "put", key, value: encodeNumbers(this.#tail), expiresAt });
    this.#ended = { number: this.#nextBlock, numbers: this.#tail };
    this.#nextBlock += 1;
    this.#tail = [];
  }
}

export function decideSlidingLog(
  rule: SlidingLogRule,
  states: EntryStore,
  key: string,
  now: number,
  count: number,
): { readonly decision: RateDecision; readonly effects: readonly Effect[] } {
  const { limit, windowMs } = rule;
  const head = states.get(headKey(key));
  const log = new Log(states, key, head === undefined || head.expiresAt <= now ? undefined : head.value);
  const setBack = log.newest > now;
  if (setBack) log.gather(now);
  for (let oldest = log.oldest; oldest !== undefined && now - oldest[0] >= windowMs; oldest = log.oldest)
    log.dropOldest();
  if (log.counted + count <= limit) {
    log.add(now, count, windowMs);
    return { decision: allowed(limit - log.counted), effects: log.effects(windowMs) };
  }
  if (rule.countRefusals === true) {
    log.add(now, count, windowMs);
    // Whoever is beyond the limit stays there without the oldest, too.
    for (let oldest = log.oldest; oldest !== undefined && log.counted - oldest[1] >= limit; oldest = log.oldest) {
      log.dropOldest();
    }
  }
  const decision = refused(limit - log.counted, log.freeAt(limit - count, windowMs) - now);
  return { decision, effects: setBack || rule.countRefusals === true ? log.effects(windowMs) : [] };
}

/** What forgets all of a key's log. */
export function forgetSlidingLog(states: EntryStore, key: string): readonly Effect[] {
  const head = states.get(headKey(key))?.value;
  if (head === undefined) return [];
  const effects: Effect[] = [{ type: "delete", key: headKey(key) }];
  const [firstBlock, , nextBlock] = decodeNumbers(head);
  for (let block = firstBlock!; block < nextBlock!; block++)
    effects.push({ type: "delete", key: blockKey(key, block) });
  return effects;
}

export function headKey(key: string): string {
  return `rs${key}`;
}

function blockKey(key: string, block: number): string {
  return `rb${block}:${key}`;
}
