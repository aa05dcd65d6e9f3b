import { type ErrorCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import { readOf } from "../shared/passing.ts";

/** The server does not know the script; it has not run. */
export class UnknownScript extends TenonError {
  constructor() {
    super("unavailable", "Redis does not know a script of ours; it is sent again in full");
  }
}

interface Meaning {
  readonly code: ErrorCode;
  readonly advice: string;
}

/**
 * Error replies by their first word. All of these are given before a command or the first write of a script has changed anything.
 */
const refusals: Readonly<Record<string, Meaning>> = {
  READONLY: {
    code: "unavailable",
    advice: "It is a replica now; the client finds the new primary where it knows the Sentinels or the cluster.",
  },
  LOADING: { code: "unavailable", advice: "It is reading its data from the disk; try again later." },
  MASTERDOWN: { code: "unavailable", advice: "It is a replica without a primary; try again later." },
  CLUSTERDOWN: { code: "unavailable", advice: "Some slots of the cluster have no node; try again later." },
  TRYAGAIN: { code: "unavailable", advice: "A slot is being moved; try again." },
  MOVED: {
    code: "unavailable",
    advice: "A slot has moved; if this node belongs to a cluster, connect with a cluster client.",
  },
  ASK: { code: "unavailable", advice: "A slot is being moved; try again." },
  BUSY: { code: "unavailable", advice: "A long script is running; try again later." },
  NOREPLICAS: {
    code: "unavailable",
    advice: "Fewer replicas than min-replicas-to-write are connected; try again when they are.",
  },
  MISCONF: {
    code: "unavailable",
    advice: "It cannot write to its disk and refuses changes; look at its log and its disk.",
  },
  OOM: { code: "overloaded", advice: "It has reached maxmemory; make room or give it more." },
  NOAUTH: { code: "denied", advice: "Give the client a password." },
  WRONGPASS: { code: "denied", advice: "Mend the client's user name and password." },
  NOPERM: { code: "denied", advice: "Give the user the commands, keys and channels that docs/redis.md lists." },
  CROSSSLOT: { code: "unsupported", advice: "Keys of one change lie in several slots of the cluster." },
};

/** What an error reply or a client's own error means for a command that was sent. */
export function failureOf(error: unknown, what: string): TenonError {
  const message = error instanceof Error ? error.message : String(error);
  const word = /^([A-Z]+)(?= |$)/.exec(message)?.[1];
  if (word === undefined) return lost(what, error);
  if (word === "NOSCRIPT") return new UnknownScript();
  const refusal = refusals[word];
  if (refusal !== undefined) {
    return replied(refusal.code, `Redis refused ${what} (${word}). ${refusal.advice}`, word, "not-applied");
  }
  if (word === "WRONGTYPE") {
    const text = `Redis holds something else under a key of ${what} (WRONGTYPE). Give this engine a prefix that nothing else uses.`;
    return replied("conflict", text, word, "unknown");
  }
  return errReply(message, word, what);
}

function errReply(message: string, word: string, what: string): TenonError {
  if (/max(imum)? number of clients/i.test(message)) {
    return replied("unavailable", `Redis refused ${what}: it has reached maxclients. Raise it.`, word, "not-applied");
  }
  // The second are the words from Redis 7.2 on.
  if (/^ERR (?:The user executing the script|ACL failure in script)/.test(message)) {
    // Permissions are asked for at each call of a script, so that it may have come half way.
    return replied("denied", `Redis forbids a part of ${what}. ${refusals.NOPERM!.advice}`, word, "unknown");
  }
  const unknown = /unknown (?:sub)?command '?([^'"` ]*)/i.exec(message)?.[1];
  if (unknown !== undefined) {
    const text = `Redis does not have the command ${unknown}, which ${what} needs. Allow it, or use Redis 7 or later.`;
    return replied("unsupported", text, word, "not-applied");
  }
  // What follows the arguments' mark, or a line break, may hold what the caller sent.
  const safe = message.split(/, with args|\n/, 1)[0]!.slice(0, 200);
  const text = `Redis could not carry out ${what}: ${safe}. What is stored may come from another program or version.`;
  return replied("conflict", text, word, "unknown");
}

function replied(code: ErrorCode, message: string, reply: string, outcome: Outcome): TenonError {
  return new TenonError(code, message, { outcome, fields: { reply } });
}

/** The connection broke, or the server did not answer in time, after the command was given to the client. */
export function lost(what: string, cause: unknown): TenonError {
  const message = `The connection to Redis was lost before ${what} was answered. It may have happened; look, or repeat it where that is safe.`;
  return new TenonError("unavailable", message, { outcome: "unknown", cause: plain(cause) });
}

export function overdue(what: string, timeoutMs: number): TenonError {
  const message = `Redis did not answer ${what} within ${timeoutMs} ms. It may have happened; look, or repeat it where that is safe.`;
  return new TenonError("unavailable", message, { outcome: "unknown", fields: { timeoutMs } });
}

export function unreachable(what: string, timeoutMs: number, cause: unknown): TenonError {
  const message = `Redis could not be reached for ${timeoutMs} ms, and ${what} was not sent. Try again later.`;
  return new TenonError("unavailable", message, { fields: { timeoutMs }, cause: plain(cause) });
}

export function closed(what: string, outcome: Outcome = "not-applied"): TenonError {
  return new TenonError(
    "closed",
    `The Redis engine was closed; ${what} ${outcome === "unknown" ? "may have happened" : "was not sent"}.`,
    {
      outcome,
    },
  );
}

/** Clients' errors carry commands with their arguments, which are payloads; only name and message are kept. */
export function plain(error: unknown): Error | undefined {
  if (error === undefined) return undefined;
  if (!(error instanceof Error)) return new Error(String(error));
  const kept = new Error(error.message);
  kept.name = error.name;
  return kept;
}

export const asRead = readOf("Redis");
