import { isCode, TenonError } from "../../contracts/errors.ts";

/** An outage ends some time; who can wait tries again. */
export function isPassing(error: unknown): boolean {
  return isCode(error, "unavailable", "overloaded");
}

/** A read that failed has changed nothing, whether or not the server came to it. `server`: what people call it. */
export function readOf(server: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof TenonError) || error.outcome === "not-applied") throw error;
    const message = `${server} did not answer a read: the connection was lost or the server too slow. Try again.`;
    throw new TenonError(error.code, error.code === "unavailable" ? message : error.message, {
      fields: error.fields,
      cause: error.cause,
    });
  };
}
