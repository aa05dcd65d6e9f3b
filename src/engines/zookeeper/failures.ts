import { type ErrorCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import { lossesOf } from "../shared/losses.ts";
import { readOf } from "../shared/passing.ts";

/** The codes of ZooKeeper's `KeeperException`. */
export const codes = {
  connectionLoss: -4,
  operationTimeout: -7,
  noNode: -101,
  noAuth: -102,
  badVersion: -103,
  nodeExists: -110,
  notEmpty: -111,
  sessionExpired: -112,
  invalidAcl: -114,
  authFailed: -115,
  sessionMoved: -118,
  notReadOnly: -119,
  quotaExceeded: -125,
} as const;

/** What ZooKeeper answered in place of a reply, or that there was none. */
export class ZookeeperError extends Error {
  override readonly name = "ZookeeperError";
  readonly code: number;
  constructor(code: number) {
    super(`ZooKeeper's code ${code}`);
    this.code = code;
  }
}

export const { lost, overdue, unreachable, closed } = lossesOf("ZooKeeper");
export const asRead = readOf("ZooKeeper");

export function isNodeExists(error: unknown): boolean {
  return codeOf(error) === codes.nodeExists;
}

/** What a transaction rested on has changed; it was not carried out. */
export function isCollision(error: unknown): boolean {
  const code = codeOf(error);
  return code === codes.badVersion || code === codes.nodeExists || code === codes.noNode;
}

function codeOf(error: unknown): number | undefined {
  return error instanceof ZookeeperError ? error.code : undefined;
}

/** What an error of a session means. `outcome`: when nobody knows whether it was carried out. */
export function failureOf(error: unknown, what: string, outcome: Outcome): TenonError {
  if (error instanceof TenonError) return error;
  const code = codeOf(error);
  const refused = (errorCode: ErrorCode, then: string) =>
    new TenonError(errorCode, `ZooKeeper refused ${what} (${code}). ${then}`, { fields: { zookeeperCode: code ?? 0 } });
  switch (code) {
    case undefined:
    case codes.connectionLoss:
    case codes.operationTimeout:
    case codes.sessionExpired:
    case codes.sessionMoved:
      return lost(what, error, outcome);
    case codes.noAuth:
    case codes.authFailed:
    case codes.invalidAcl:
      return refused("denied", "Mend the credentials, or the nodes' access lists.");
    case codes.notReadOnly:
      return refused("unavailable", "The server has no quorum and takes no changes; try again later.");
    case codes.quotaExceeded:
      return refused("overloaded", "Raise the quota of the engine's root.");
    case codes.noNode:
      return refused("not-found", 'Nodes of this engine are not there. Make them with the option nodes: "make".');
    default:
      return refused("conflict", "What is stored may come from another program or version.");
  }
}
