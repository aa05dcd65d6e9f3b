import type { TestContext } from "node:test";

/**
 * What `opening` gives, closed at the test's end. Also when it opens only then, as one of several may that are opened at once when
 * another one fails: an engine that stays open keeps the process of its tests alive.
 */
export function closedAfter<Opened>(
  t: Pick<TestContext, "after">,
  opening: Promise<Opened>,
  close: (opened: Opened) => Promise<unknown>,
): Promise<Opened> {
  // What could not be opened is the test's to tell.
  t.after(() => opening.then(close, () => undefined));
  return opening;
}
