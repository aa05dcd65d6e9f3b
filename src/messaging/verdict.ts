import { TenonError } from "../contracts/errors.ts";
import { DeadLetter, RetryRequested } from "./dead-letter.ts";

/** What a batch handler says of one message. Made by `verdict`. */
export type Verdict =
  | { readonly outcome: "settle" }
  | { readonly outcome: "retry"; readonly reason: string }
  | { readonly outcome: "dead-letter"; readonly reason: string };

const settle: Verdict = Object.freeze({ outcome: "settle" });

/** What a batch handler can answer for a message. Reasons are kept with the message and logged: never put a payload in them. */
export const verdict = Object.freeze({
  /** It was handled. */
  settle,
  /** It failed, and is handled again as if its handler had thrown. */
  retry: (reason: string): Verdict => ({ outcome: "retry", reason }),
  /** No retry will help. */
  deadLetter: (reason: string): Verdict => ({ outcome: "dead-letter", reason }),
});

/** What became of a message in a batch. */
export interface Decision {
  readonly failed: boolean;
  readonly error: unknown;
}

const settled: Decision = { failed: false, error: undefined };

/** One decision per message. Throws `invalid` for an answer that does not fit the messages. */
export function decisionsOf(answer: unknown, count: number): readonly Decision[] {
  if (answer === undefined) return new Array<Decision>(count).fill(settled);
  if (!Array.isArray(answer) || answer.length !== count) {
    const what = Array.isArray(answer) ? `${answer.length} verdicts` : `a value of type ${typeof answer}`;
    throw new TenonError(
      "invalid",
      `A batch handler answered ${count} messages with ${what}; return nothing, or one verdict per message in their order.`,
    );
  }
  return answer.map(decisionOf);
}

export function failure(error: unknown): Decision {
  return { failed: true, error };
}

function decisionOf(given: Verdict): Decision {
  switch (given?.outcome) {
    case "settle":
      return settled;
    case "retry":
      return failure(new RetryRequested(String(given.reason)));
    case "dead-letter":
      return failure(new DeadLetter(String(given.reason)));
    default:
      throw new TenonError(
        "invalid",
        "A batch handler answered with something that is no verdict; make them by `verdict`.",
      );
  }
}
