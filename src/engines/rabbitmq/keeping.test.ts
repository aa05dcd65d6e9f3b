import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Keeping } from "./keeping.ts";

/** One process's changes of a value that stands at a version, with those of others in between. */
class Value {
  readonly keeping = new Keeping();
  version = 1;

  change(): boolean {
    this.version += 1;
    return this.keeping.changed("value", this.version - 1, this.version);
  }

  othersChange(): void {
    this.version += 1;
  }

  /** How many changes it takes until the lock is worth keeping. */
  changesUntilKept(): number {
    let changes = 1;
    while (!this.change()) changes += 1;
    return changes;
  }
}

describe("keeping locks", () => {
  test("is worth it when eight changes followed one another without anybody else's, and for as long as that lasts", () => {
    const value = new Value();
    assert.equal(value.changesUntilKept(), 9);
    assert.equal(value.change(), true);
  });

  test("is never worth it while others change the value now and then", () => {
    const value = new Value();
    for (let round = 0; round < 100; round++) {
      for (let changes = 0; changes < 8; changes++) assert.equal(value.change(), false);
      value.othersChange();
    }
  });

  test("takes twice as many changes each time that somebody else came, up to a bound", () => {
    const value = new Value();
    const needed = Array.from({ length: 10 }, () => {
      const changes = value.changesUntilKept();
      value.othersChange();
      return changes - 1;
    });
    assert.deepEqual(needed, [8, 16, 32, 64, 128, 256, 512, 1_024, 1_024, 1_024]);
  });

  test("begins anew when it is not known what became of the value", () => {
    const value = new Value();
    value.changesUntilKept();
    value.keeping.forget("value");
    assert.equal(value.changesUntilKept(), 9);
  });

  test("remembers the values that were changed last", () => {
    const value = new Value();
    value.changesUntilKept();
    for (let other = 0; other < 8_191; other++) value.keeping.changed(`other-${other}`, 0, 1);
    assert.equal(value.change(), true);
    for (let other = 0; other < 8_192; other++) value.keeping.changed(`other-${other}`, 0, 1);
    assert.equal(value.change(), false);
  });
});
