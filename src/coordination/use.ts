import { isCode, TenonError } from "../contracts/errors.ts";
import type { Hold } from "./api.ts";

/** Runs the work under what `acquire` gives, and releases it whatever happens. */
export async function useHold<Held extends Hold, Result>(
  what: string,
  acquire: () => Promise<Held>,
  work: (hold: Held) => Promise<Result> | Result,
): Promise<Result> {
  if (typeof work !== "function") throw new TenonError("invalid", `The work under ${what} must be a function.`);
  await using hold = await acquire();
  const result = await work(hold);
  const cause = lossOf(hold);
  if (cause === undefined) return result;
  throw new TenonError(
    "lost",
    `The work under ${what} has ended, but the lock had been lost before. Find out whether somebody else worked at the same time; let guards refuse stale tokens.`,
    { outcome: "unknown", fields: cause.fields, cause },
  );
}

/** The error with which it was lost. Work may release early, which is no loss. */
function lossOf(hold: Hold): TenonError | undefined {
  try {
    hold.check();
    return undefined;
  } catch (error) {
    return isCode(error, "lost") ? error : undefined;
  }
}
