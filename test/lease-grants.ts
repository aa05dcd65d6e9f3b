/** What many who fight for one name were granted, and what must hold of it. */
import assert from "node:assert/strict";

export interface Grant {
  readonly token: bigint;
  /** When it was asked for, when it was there, and until when its holder relied on it, by the holder's monotonic clock. */
  readonly asked: number;
  readonly at: number;
  until: number;
}

export function checkGrants(grants: readonly Grant[]): void {
  assert.equal(new Set(grants.map(({ token }) => token)).size, grants.length, "no two have the same token");
  for (const one of grants) {
    for (const other of grants) {
      if (one === other) continue;
      if (one.at <= other.asked) assert.ok(one.token < other.token, "what is asked for later has a greater token");
      // One that was over when its answer came was relied on by nobody.
      const together = Math.min(one.until, other.until) - Math.max(one.at, other.at);
      assert.ok(together <= 0, `two relied on the name for ${together} ms`);
    }
  }
}
