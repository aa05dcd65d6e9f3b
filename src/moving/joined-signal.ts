/** A signal that aborts with the first of others, for as long as it is needed. */
export interface JoinedSignal extends Disposable {
  readonly signal: AbortSignal;
  abort(reason: unknown): void;
}

/** Ended by disposal, it leaves nothing on the others, which may last much longer. */
export function joinedSignal(...others: readonly AbortSignal[]): JoinedSignal {
  const controller = new AbortController();
  const ends = others.map((other) => {
    const end = (): void => controller.abort(other.reason);
    if (other.aborted) end();
    else other.addEventListener("abort", end, { once: true });
    return () => other.removeEventListener("abort", end);
  });
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]() {
      for (const end of ends) end();
    },
  };
}
