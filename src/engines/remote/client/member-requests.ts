import type { TenonError } from "../../../contracts/errors.ts";
import type { MemberAnswer, MemberRequest } from "../wire/member-codecs.ts";
import { operations } from "../wire/operations.ts";
import { ConnectionLost, named } from "./failures.ts";
import type { Link } from "./link.ts";

interface Open {
  readonly number: number;
  readonly asked: MemberRequest;
  /** It may have reached the server. */
  isSent: boolean;
  readonly resolve: (answer: MemberAnswer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * What one member asks, in order and each once, over as many connections as it takes: everything has a number, the server keeps each answer until it hears that
 * it came, and what is open is asked again on the next connection.
 */
export class MemberRequests {
  readonly #link: Link;
  readonly #member: string;
  readonly #gone: () => void;
  readonly #open = new Map<number, Open>();
  #answered: number[] = [];
  #last = 0;
  #isLive = false;
  #ended: ((sent: boolean) => TenonError) | undefined;

  /** `gone` is called when the server says that it knows no such member. */
  constructor(link: Link, member: string, gone: () => void) {
    this.#link = link;
    this.#member = member;
    this.#gone = gone;
  }

  ask(asked: MemberRequest): Promise<MemberAnswer> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended(false));
    return new Promise((resolve, reject) => {
      const open: Open = { number: ++this.#last, asked, isSent: false, resolve, reject };
      this.#open.set(open.number, open);
      if (this.#isLive) this.#send(open);
    });
  }

  /** The connection is lost; what is open stays open. */
  pause(): void {
    this.#isLive = false;
  }

  /** Tells the server that the member is here again. Answers whether it is known there; `undefined` when the connection was lost again. */
  async resume(): Promise<boolean | undefined> {
    const asked = { member: this.#member, waitsFor: [...this.#open.keys()] };
    const answer = this.#link.send(operations.resume, asked);
    if (answer === undefined) return undefined;
    let known: boolean;
    try {
      known = await answer;
    } catch (error) {
      if (error instanceof ConnectionLost) return undefined;
      throw error;
    }
    if (known && this.#ended === undefined) {
      // What was not listed before is not waited for any more.
      this.#answered = [];
      this.#isLive = true;
      for (const open of this.#open.values()) this.#send(open);
    }
    return known;
  }

  #send(open: Open): void {
    const { number, asked } = open;
    let answer: Promise<MemberAnswer> | undefined;
    try {
      answer = this.#link.send(operations.ask, { member: this.#member, number, answered: this.#answered, asked });
    } catch (error) {
      this.#open.delete(number);
      open.reject(named(nameOf(asked), error));
      return;
    }
    if (answer === undefined) return;
    open.isSent = true;
    this.#answered = [];
    answer.then(
      (answered) => this.#settle(open, answered),
      (error: unknown) => {
        // It stays open, and is asked again when the member is resumed.
        if (error instanceof ConnectionLost || !this.#open.delete(number)) return;
        open.reject(error);
      },
    );
  }

  #settle(open: Open, answer: MemberAnswer): void {
    if (answer.type === "gone") {
      this.#gone();
      return;
    }
    if (!this.#open.delete(open.number)) return;
    this.#answered.push(open.number);
    open.resolve(answer);
  }

  /** Nothing is asked any more, and what is open is answered with this; `sent`: it may have happened. */
  end(reason: (sent: boolean) => TenonError): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#isLive = false;
    const open = [...this.#open.values()];
    this.#open.clear();
    for (const each of open) each.reject(reason(each.isSent && each.asked.type === "commit"));
  }
}

function nameOf({ type }: MemberRequest): string {
  return type === "commit" ? "committing to a lane" : "a member's request";
}
