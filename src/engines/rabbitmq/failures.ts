import { type Outcome, TenonError } from "../../contracts/errors.ts";
import { readOf } from "../shared/passing.ts";

export const asRead = readOf("RabbitMQ");

/** A queue or exchange is not there: what it belongs to was removed. */
export class Gone extends Error {}

/** Somebody else's connection holds the exclusive queue. */
export class Locked extends Error {}

/** The reply code by which the server closed a channel or connection; `undefined` when it did not answer. */
export function replyCodeOf(cause: unknown): number | undefined {
  const { code } = (cause ?? {}) as { code?: unknown };
  return typeof code === "number" ? code : undefined;
}

const then = {
  unknown: "It may have happened; look, or repeat it where that is safe.",
  "not-applied": "It has not happened; try again.",
  applied: "It has happened.",
} as const;

/** What it means that a channel or its connection failed while `what` was under way. */
export function failureOf(cause: unknown, what: string, outcome: Outcome): Error {
  if (cause instanceof TenonError || cause instanceof Gone || cause instanceof Locked) return cause;
  const code = replyCodeOf(cause);
  if (code === 404) return new Gone(what);
  if (code === 405) return new Locked(what);
  if (code === 403) {
    const text = `RabbitMQ refused ${what} (403): the user may not. Grant configure, write and read on the prefix, as docs/rabbitmq.md says.`;
    return new TenonError("denied", text, { fields: { replyCode: code } });
  }
  if (code === 406) {
    const text = `RabbitMQ refused ${what} (406): a queue of this prefix is declared differently. Something else uses these names, or another version.`;
    return new TenonError("conflict", text, { outcome, fields: { replyCode: code } });
  }
  const text = `The connection to RabbitMQ was lost before ${what} was answered. ${then[outcome]}`;
  return new TenonError("unavailable", text, { outcome, cause: plain(cause) });
}

export function overdue(what: string, timeoutMs: number, outcome: Outcome): TenonError {
  const text = `RabbitMQ did not answer ${what} within ${timeoutMs} ms. ${then[outcome]}`;
  return new TenonError("unavailable", text, { outcome, fields: { timeoutMs } });
}

export function unreachable(what: string, timeoutMs: number, cause: unknown): TenonError {
  const text = `RabbitMQ could not be reached for ${timeoutMs} ms, and ${what} was not sent. Try again later.`;
  return new TenonError("unavailable", text, { fields: { timeoutMs }, cause: plain(cause) });
}

export function lockedTooLong(what: string, timeoutMs: number): TenonError {
  const text = `${what} waited ${timeoutMs} ms for a record that somebody else has under change: they are many, or one of them stands still until its heartbeat is missed. It has not happened; try again.`;
  return new TenonError("unavailable", text, { fields: { timeoutMs } });
}

export function blocked(what: string, reason: string): TenonError {
  const text = `RabbitMQ takes no messages now (${reason}), and ${what} was not sent. Give it disk or memory, or try again later.`;
  return new TenonError("overloaded", text, { fields: { reason } });
}

export function closed(what: string, outcome: Outcome = "not-applied"): TenonError {
  const ending = outcome === "unknown" ? "may have happened" : "was not carried out";
  return new TenonError("closed", `The RabbitMQ engine was closed; ${what} ${ending}.`, { outcome });
}

/** Errors of a client may carry what was sent; only name and message are kept. */
export function plain(error: unknown): Error | undefined {
  if (error === undefined) return undefined;
  const kept = new Error(error instanceof Error ? error.message : String(error));
  kept.name = error instanceof Error ? error.name : "Error";
  return kept;
}
