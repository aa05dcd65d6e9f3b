/** A mistake in the command line; its message is the one line to print. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
