import { type ErrorCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import { lossesOf } from "../shared/losses.ts";
import { readOf } from "../shared/passing.ts";

/** The codes of gRPC, by which etcd says what went wrong. */
const grpc = {
  invalidArgument: 3,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  outOfRange: 11,
  unimplemented: 12,
  unauthenticated: 16,
} as const;

/** Codes of Node and undici for connections that did not come about: nothing was sent. */
const neverSent = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "EADDRNOTAVAIL",
  "UND_ERR_CONNECT_TIMEOUT",
]);

/** Whether the request surely did not leave this process. */
export function isNeverSent(error: unknown): boolean {
  const cause = (error as { cause?: { code?: unknown } } | undefined)?.cause ?? error;
  const { code } = (cause ?? {}) as { code?: unknown };
  if (typeof code !== "string") return false;
  return neverSent.has(code) || /^(ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO)/.test(code);
}

/** What etcd answered in place of a reply. */
export interface Refusal {
  readonly status: number;
  readonly code: number | undefined;
  /** etcd's own words, which hold neither keys nor values. */
  readonly text: string;
}

export function refusalOf(status: number, body: string): Refusal {
  try {
    const { code, error, message } = JSON.parse(body) as { code?: unknown; error?: unknown; message?: unknown };
    const text = typeof message === "string" ? message : typeof error === "string" ? error : "";
    return { status, code: typeof code === "number" ? code : undefined, text: text.slice(0, 200) };
  } catch {
    return { status, code: undefined, text: "" };
  }
}

export function isUnauthenticated({ code }: Refusal): boolean {
  return code === grpc.unauthenticated;
}

/** The lease that a request named has ended. */
export function isLeaseGone(error: unknown): boolean {
  return codeOf(error) === grpc.notFound;
}

/** The revision that was asked for is compacted, or not there (any more). */
export function isOutOfRange(error: unknown): boolean {
  return codeOf(error) === grpc.outOfRange;
}

function codeOf(error: unknown): unknown {
  return error instanceof TenonError ? error.fields.grpcCode : undefined;
}

/** `outcome`: when nobody knows whether it was carried out. */
export function refused({ status, code, text }: Refusal, what: string, outcome: Outcome): TenonError {
  const told = text === "" ? `HTTP ${status}` : text;
  const answer = (errorCode: ErrorCode, then: string) =>
    new TenonError(errorCode, `etcd refused ${what} (${told}). ${then}`, {
      fields: code === undefined ? { status } : { status, grpcCode: code },
    });
  switch (code) {
    case grpc.invalidArgument:
      return answer(
        "invalid",
        "Where it is too large or has too many operations, raise --max-request-bytes or --max-txn-ops, or tell the engine the server's figures.",
      );
    case grpc.notFound:
      return answer("unavailable", "A lease has ended meanwhile; try again.");
    case grpc.permissionDenied:
      return answer("denied", "Grant the role that docs/etcd.md lists.");
    case grpc.unauthenticated:
      return answer("denied", "Mend the credentials.");
    case grpc.resourceExhausted:
      return answer(
        "overloaded",
        "Where its space is used up, compact, defragment and disarm the alarm; where the request is too large, tell the engine what --max-request-bytes is; else try again later.",
      );
    case grpc.failedPrecondition:
      return answer("conflict", "Look at what etcd says.");
    case grpc.outOfRange:
      return answer("unavailable", "The revision is compacted or not there; read anew.");
    case grpc.unimplemented:
      return answer("unsupported", "The engine needs etcd 3.4 or later.");
  }
  if (code === undefined && status === 404) {
    return answer(
      "unsupported",
      "It does not serve the JSON API at /v3: leave --enable-grpc-gateway on, and use etcd 3.4 or later.",
    );
  }
  const then = outcome === "unknown" ? "It may have happened; look, or repeat it where that is safe." : "Try again.";
  return new TenonError("unavailable", `etcd could not say what became of ${what} (${told}). ${then}`, {
    outcome,
    fields: code === undefined ? { status } : { status, grpcCode: code },
  });
}

export const { lost, overdue, unreachable, closed } = lossesOf("etcd");
export const asRead = readOf("etcd");
