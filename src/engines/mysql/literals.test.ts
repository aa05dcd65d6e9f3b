import assert from "node:assert/strict";
import { test } from "node:test";
import { prepared, render } from "./literals.ts";

test("values stand where their numbers were, and none of them can end its literal", () => {
  const text = "UPDATE t SET a = $2, b = $1 WHERE c = $10";
  const values = ["'; DROP TABLE t; --", 5, null, true, 1n, 2, 3, 4, 5, Buffer.from("$1")];
  assert.equal(
    render(text, values),
    `UPDATE t SET a = 5, b = X'${Buffer.from("'; DROP TABLE t; --").toString("hex")}' WHERE c = X'2431'`,
  );
});

test("a list stands in parentheses, and rows are lists of lists", () => {
  assert.equal(render("a IN ($1)", [[1, 2, 3]]), "a IN (1,2,3)");
  assert.equal(render("a IN ($1)", [[]]), "a IN (NULL)");
  const rows = [
    [1, Buffer.from("a")],
    [2, null],
  ];
  assert.equal(render("VALUES $1", [rows]), "VALUES (1,X'61'),(2,NULL)");
});

test("a view of bytes is written as what it shows, and what is endless as the largest number", () => {
  const bytes = new Uint8Array(Buffer.from("abc")).subarray(1);
  assert.equal(render("$1, $2, $3", [bytes, Number.POSITIVE_INFINITY, 0.1]), `X'6263', ${Number.MAX_VALUE}, 0.1`);
  assert.throws(() => render("$1", [Number.NaN]), TypeError);
});

test("a prepared statement has its values in the order in which they stand in it, however often", () => {
  const bytes = new Uint8Array(Buffer.from("abc")).subarray(1);
  const { sql, values } = prepared("a = $2, b = $1, c = $2, d = $3, e = $4", ["text", 5n, true, bytes]);
  assert.equal(sql, "a = ?, b = ?, c = ?, d = ?, e = ?");
  assert.deepEqual(values, ["5", Buffer.from("text"), "5", 1, Buffer.from("bc")]);
  assert.throws(() => prepared("a IN ($1)", [[1, 2]]), TypeError);
});
