import { TenonError } from "../contracts/errors.ts";

export function isNotFound(error: unknown): boolean {
  return error instanceof TenonError && error.code === "not-found";
}

export function isDenied(error: unknown): boolean {
  return error instanceof TenonError && error.code === "denied";
}

export function isLost(error: unknown): boolean {
  return error instanceof TenonError && error.code === "lost";
}

/** Whether it may have happened all the same. */
export function isUnknown(error: unknown): boolean {
  return error instanceof TenonError && error.outcome === "unknown";
}

/** Whether the same call may succeed in a while; it is one whose repetition does no harm. */
export function mayPass(error: unknown): boolean {
  if (!(error instanceof TenonError)) return false;
  return error.outcome === "unknown" || ["unavailable", "overloaded", "timeout"].includes(error.code);
}

/** While a topic is on its way, for those who can wait. */
export function onItsWay(topic: string, what: string): TenonError {
  const text = `topic ${topic} is being moved to another engine, and ${what} has to wait until that is done; try again`;
  return new TenonError("unavailable", text, { fields: { topic } });
}

/** An engine that was closed does not answer any more; another one may later. */
export function unlessClosed(error: unknown): undefined {
  if (error instanceof TenonError && error.code === "closed") throw error;
  return undefined;
}
