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

/** Long enough for all but the finest sliding windows. */
const scratch = Buffer.alloc(1_024);

/** `text`: the bytes as an entry keeps them. */
export function decodeNumbers(text: string): number[] {
  const { length } = text;
  let bytes = scratch;
  if (length > scratch.length) bytes = Buffer.from(text, "latin1");
  else scratch.write(text, "latin1");
  const numbers: number[] = [];
  for (let at = 0; at < length; at += 8) numbers.push(bytes.readDoubleLE(at));
  return numbers;
}
