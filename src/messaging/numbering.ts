import type { MessageHeaders, NewMessage } from "../contracts/messages.ts";
import { numberHeader } from "./headers.ts";

/** Where a message stands among those that one producer stored in one partition. */
export interface Numbered {
  /** One producer in one partition, for as long as the fate of all that it sent is known. */
  readonly stream: string;
  /** From 0, without a gap among what was stored. */
  readonly number: number;
}

/**
 * Numbers the messages of one partition as they leave, so that a consumer can see that one is missing. Delayed messages come out of order, and
 * one with an id may be a duplicate that is not stored: they carry no number.
 */
export class Numbering {
  readonly #incarnation: string;
  readonly #idsDeduplicate: boolean;
  #generation = 0;
  #next = 0;

  constructor(incarnation: string, idsDeduplicate: boolean) {
    this.#incarnation = incarnation;
    this.#idsDeduplicate = idsDeduplicate;
  }

  /** Gives a batch that leaves its numbers; the answer is how many got one. */
  stamp(messages: readonly NewMessage[]): number {
    let count = 0;
    for (const message of messages) {
      if (message.dueAt !== undefined || (this.#idsDeduplicate && message.id !== undefined)) continue;
      const number = `${this.#incarnation}-${this.#generation}:${this.#next + count}`;
      // The message is the producer's own object, and it leaves only once.
      (message as { headers?: MessageHeaders }).headers = { ...message.headers, [numberHeader]: number };
      count += 1;
    }
    return count;
  }

  /** The batch is stored; had it been refused, its numbers would be given to others. */
  stored(count: number): void {
    this.#next += count;
  }

  /** Nobody knows whether the batch is stored. */
  unknown(): void {
    this.#generation += 1;
    this.#next = 0;
  }
}

export function numberedIn(headers: MessageHeaders | undefined): Numbered | undefined {
  const text = headers?.[numberHeader];
  if (text === undefined) return undefined;
  const colon = text.lastIndexOf(":");
  const number = Number(text.slice(colon + 1));
  return colon > 0 && Number.isSafeInteger(number) && number >= 0
    ? { stream: text.slice(0, colon), number }
    : undefined;
}
