/**
 * Resolves when every microtask that the last event set off has run: an immediate comes only after all of them.
 * This is the one place in a simulation where real time passes.
 */
export function quiet(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
