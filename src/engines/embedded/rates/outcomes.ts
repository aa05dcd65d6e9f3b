import type { RateDecision } from "../../../contracts/rates.ts";

/** A decision and what it leaves behind. */
export interface RateOutcome {
  readonly decision: RateDecision;
  /** The key's new state; `undefined` when it stays as it was. */
  readonly next: RateState | undefined;
}

export interface RateState {
  readonly numbers: readonly number[];
  /** From then on the key is as good as unused. */
  readonly endsAt: number;
}

export function allowed(remaining: number, delayMs = 0): RateDecision {
  return { allowed: true, retryAfterMs: 0, remaining, delayMs };
}

export function refused(remaining: number, retryAfterMs: number): RateDecision {
  return {
    allowed: false,
    retryAfterMs: Math.max(1, Math.ceil(retryAfterMs)),
    remaining: Math.max(0, remaining),
    delayMs: 0,
  };
}

/** Numbers as they are stored: doubles, little endian. */
export function encodeNumbers(numbers: readonly number[]): Buffer {
  const buffer = Buffer.allocUnsafe(numbers.length * 8);
  for (let index = 0; index < numbers.length; index++) buffer.writeDoubleLE(numbers[index]!, index * 8);
  return buffer;
}

export function decodeNumbers(value: Uint8Array): number[] {
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const numbers: number[] = [];
  for (let at = 0; at < value.byteLength; at += 8) numbers.push(view.getFloat64(at, true));
  return numbers;
}
