import type { ConcurrencyRule, RateDecision } from "../../../contracts/rates.ts";
import { ByteReader, ByteWriter } from "../binary.ts";
import { allowed, refused } from "./outcomes.ts";

const format = 1;

/** Who is inside under one key, as one value: 17 bytes and its name for each permit. */
export class PermitState {
  readonly #permits = new Map<string, { endsAt: number; readonly holdMs: number }>();

  get endsAt(): number {
    let end = 0;
    for (const { endsAt } of this.#permits.values()) end = Math.max(end, endsAt);
    return end;
  }

  enter({ limit, holdMs }: ConcurrencyRule, permit: string, now: number): RateDecision {
    this.#dropEnded(now);
    if (!this.#permits.has(permit) && this.#permits.size >= limit) {
      const firstEnd = Math.min(...[...this.#permits.values()].map(({ endsAt }) => endsAt));
      return refused(limit - this.#permits.size, firstEnd - now);
    }
    this.#permits.set(permit, { endsAt: now + holdMs, holdMs });
    return allowed(Math.max(0, limit - this.#permits.size));
  }

  leave(permit: string): void {
    this.#permits.delete(permit);
  }

  /** When the clock was set back, none stays for longer than it was given. */
  #dropEnded(now: number): void {
    for (const [permit, own] of this.#permits) {
      if (own.endsAt <= now) this.#permits.delete(permit);
      else own.endsAt = Math.min(own.endsAt, now + own.holdMs);
    }
  }

  encode(): Buffer {
    const writer = new ByteWriter().u8(format).whole(this.#permits.size);
    for (const [permit, { endsAt, holdMs }] of this.#permits) writer.text(permit).f64(endsAt).f64(holdMs);
    return writer.done();
  }

  /** No bytes: nobody is inside. */
  static decode(bytes: Uint8Array): PermitState {
    const state = new PermitState();
    if (bytes.length === 0) return state;
    const reader = new ByteReader(bytes, "the permits of a key");
    if (reader.u8() !== format) throw reader.corrupt();
    for (let left = reader.whole(); left > 0; left--) {
      state.#permits.set(reader.text(), { endsAt: reader.f64(), holdMs: reader.f64() });
    }
    reader.end();
    return state;
  }
}
