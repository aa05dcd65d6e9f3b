import { isCode, TenonError } from "../contracts/errors.ts";

/** Whether it may have happened all the same. */
export function isUnknown(error: unknown): boolean {
  return error instanceof TenonError && error.outcome === "unknown";
}

/** Whether the same call may succeed in a while; it is one whose repetition does no harm. */
export function mayPass(error: unknown): boolean {
  return isUnknown(error) || isCode(error, "unavailable", "overloaded", "timeout");
}

/** While a topic is on its way, for those who can wait. */
export function onItsWay(topic: string, what: string): TenonError {
  const text = `topic ${topic} is being moved to another engine, and ${what} has to wait until that is done; try again`;
  return new TenonError("unavailable", text, { fields: { topic } });
}

/** An engine that was closed does not answer any more; another one may later. */
export function unlessClosed(error: unknown): undefined {
  if (isCode(error, "closed")) throw error;
  return undefined;
}
