import { TenonError } from "../../../contracts/errors.ts";
import type { World } from "../../../world/world.ts";

/** An error of the served engine, as its clients have to take it. */
export function failureFor(world: World, what: string, error: unknown): TenonError {
  if (!(error instanceof TenonError)) {
    world.log.log("error", "a served engine failed at a request", { what, error: String(error) });
    const message = `The server failed at ${what}; its log says why. It may have happened.`;
    return new TenonError("unavailable", message, { outcome: "unknown" });
  }
  if (error.code !== "closed") return error;
  // Closed there is not closed here: it may be opened again, and served at the same address.
  const message = `The served engine has stopped: ${error.message}. Try again when it is served again.`;
  return new TenonError("unavailable", message, { outcome: error.outcome, fields: error.fields });
}

/** Why a lane was lost. */
export function lostBecause(reason: unknown): TenonError {
  const message = reason instanceof Error ? reason.message : String(reason);
  return new TenonError("lost", message, { fields: reason instanceof TenonError ? reason.fields : {} });
}
