import { ok } from "node:assert/strict";
import type { RateDecision, RateRule } from "../../contracts/index.ts";
import type { RatesEngine } from "../conformance-case.ts";

/** How far two clocks that count whole milliseconds may be apart on the same instant. */
const slackMs = 2;
/** What rounding may add up to in a case. */
const tolerance = 1e-3;

interface Entry {
  /** The decision was taken at some instant between these two, by the monotonic clock. */
  readonly sentAt: number;
  readonly answeredAt: number;
  readonly units: number;
  readonly decision: RateDecision;
}

/**
 * What was asked of one key and answered. As it is known of each decision only between which two instants it was taken, the
 * checks accuse nobody wrongly, however slow the machine is.
 */
export class Ledger {
  readonly #engine: RatesEngine;
  readonly #key: string;
  readonly #rule: RateRule;
  readonly #entries: Entry[] = [];

  constructor(engine: RatesEngine, key: string, rule: RateRule) {
    this.#engine = engine;
    this.#key = key;
    this.#rule = rule;
  }

  async ask(units = 1): Promise<RateDecision> {
    const { clock } = this.#engine.world;
    const sentAt = clock.monotonic();
    const decision = await this.#engine.rates.decide(this.#key, this.#rule, units);
    this.#entries.push({ sentAt, answeredAt: clock.monotonic(), units, decision });
    checkForm(decision);
    return decision;
  }

  /** Neither was more allowed than the rule's bound, nor anything refused that it must allow. */
  check(): void {
    this.#entries.sort((a, b) => a.sentAt - b.sentAt);
    for (const last of this.#entries) {
      if (last.decision.allowed) this.#checkBound(last);
      else this.#checkRefusal(last);
    }
  }

  /** In every stretch of time that ends with `last`. */
  #checkBound(last: Entry): void {
    for (const first of this.#entries) {
      if (first.sentAt > last.sentAt || !first.decision.allowed) continue;
      const within = (each: Entry) => each.sentAt >= first.sentAt && each.answeredAt <= last.answeredAt;
      const longestMs = last.answeredAt - first.sentAt + slackMs;
      const units = sumOf(this.#entries.filter((each) => each.decision.allowed && within(each)));
      const bound = this.#boundOf(longestMs);
      ok(units <= bound + tolerance, `${units} units in at most ${longestMs} ms, where ${bound} are allowed`);
    }
  }

  /** What the rule allows in any stretch of so many milliseconds. */
  #boundOf(ms: number): number {
    const rule = this.#rule;
    switch (rule.type) {
      case "fixedWindow":
        return ms >= rule.windowMs ? Infinity : rule.limit * 2;
      case "slidingWindow":
      case "slidingLog":
        return ms >= rule.windowMs ? Infinity : rule.limit;
      case "leakyBucket":
        return rule.queueMax + 1 + (rule.ratePerSecond * ms) / 1_000;
      case "tokenBucket":
        return rule.burst + (rule.ratePerSecond * ms) / 1_000;
    }
  }

  /** The most that may have been counted when it was refused did leave no room for it. */
  #checkRefusal(refused: Entry): void {
    const rule = this.#rule;
    const before = this.#entries.filter(
      (each) => each !== refused && this.#taken(each) && each.sentAt <= refused.answeredAt,
    );
    const sinceOf = (each: Entry) => refused.sentAt - each.answeredAt - slackMs;
    if (rule.type === "tokenBucket" || rule.type === "leakyBucket") {
      const full = rule.type === "tokenBucket" ? rule.burst : rule.queueMax + 1;
      let leastLeft = full;
      for (const first of before) {
        const taken = sumOf(before.filter((each) => each.answeredAt >= first.sentAt));
        leastLeft = Math.min(leastLeft, full - taken + (rule.ratePerSecond * Math.max(0, sinceOf(first))) / 1_000);
      }
      ok(leastLeft < refused.units + tolerance, `refused ${refused.units} where at least ${leastLeft} were left`);
      return;
    }
    const countedMs = rule.type === "slidingWindow" ? rule.windowMs * (1 + 1 / rule.cells) : rule.windowMs;
    const most = sumOf(before.filter((each) => sinceOf(each) < countedMs));
    ok(most + refused.units > rule.limit, `refused ${refused.units} where at most ${most} of ${rule.limit} were taken`);
  }

  #taken(entry: Entry): boolean {
    return entry.decision.allowed || ("countRefusals" in this.#rule && this.#rule.countRefusals === true);
  }
}

function checkForm({ allowed, retryAfterMs, remaining, delayMs }: RateDecision): void {
  ok(Number.isInteger(remaining) && remaining >= 0, `${remaining} whole units are left`);
  ok(Number.isInteger(retryAfterMs), `retryAfterMs is whole, not ${retryAfterMs}`);
  ok(allowed ? retryAfterMs === 0 : retryAfterMs >= 1, `retryAfterMs is ${retryAfterMs} where allowed is ${allowed}`);
  ok(delayMs >= 0 && delayMs < Infinity && (allowed || delayMs === 0), `delayMs is ${delayMs}`);
}

function sumOf(entries: readonly Entry[]): number {
  return entries.reduce((sum, { units }) => sum + units, 0);
}
