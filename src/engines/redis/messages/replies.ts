import { TenonError } from "../../../contracts/errors.ts";

/** What a script answers: a list whose first item is a word where the script refuses. */
export type Reply = readonly unknown[];

/** Why a script refused; `undefined` when it did not. */
export function refusalOf(reply: Reply): string | undefined {
  const [first] = reply;
  return first instanceof Buffer ? first.toString("latin1") : undefined;
}

export function textOf(item: unknown): string {
  return (item as Buffer).toString("utf8");
}

/** Numbers that may have a fraction, or exceed 32 bits in some clients, come as text. */
export function numberOf(item: unknown): number {
  return typeof item === "number" ? item : Number(textOf(item));
}

export function engineClosed(what: string): TenonError {
  return new TenonError("closed", `the Redis engine was closed; ${what} was not sent`);
}
