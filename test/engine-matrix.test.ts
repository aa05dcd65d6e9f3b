import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { columnOf, columnsIn, tableIn, tableOf } from "../scripts/engine-matrix/matrix.ts";
import { openers } from "../scripts/engine-matrix/openers.ts";
import { engine } from "./engines.ts";

const table = tableIn(readFileSync(new URL("../docs/capabilities.md", import.meta.url), "utf8"));
const written = columnsIn(table);

test("the matrix of engines has a column for each, and its rows in order", () => {
  assert.deepEqual(
    [...written.keys()],
    openers.map(({ title }) => title),
  );
  assert.equal(tableOf(written), table);
});

for (const { title, server, open } of openers) {
  const skip = server === undefined ? false : (await engine(server)).skip;
  test(`the matrix says of ${title} what it declares`, { skip }, async () => {
    assert.deepEqual(Object.fromEntries(written.get(title)!), Object.fromEntries(await open(columnOf)));
  });
}
