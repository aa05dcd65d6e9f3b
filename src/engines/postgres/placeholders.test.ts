import assert from "node:assert/strict";
import { test } from "node:test";
import { numberPlaceholders } from "./placeholders.ts";

const cases: readonly (readonly [name: string, sql: string, expected: string])[] = [
  ["each question mark gets the next number", "a = ? AND b IN (?, ?)", "a = $1 AND b IN ($2, $3)"],
  ["strings stay", "a = '?''?' AND b = ?", "a = '?''?' AND b = $1"],
  ["a backslash ends no plain string", "a = '\\' AND b = ? AND c = '?'", "a = '\\' AND b = $1 AND c = '?'"],
  ["a backslash escapes in an E string", "a = E'\\'?' AND b = ?", "a = E'\\'?' AND b = $1"],
  ["a name that ends with e begins no E string", "type'?' ?", "type'?' $1"],
  ["quoted names stay", '"a""?" = ?', '"a""?" = $1'],
  ["dollar-quoted strings stay", "$$?$$ ? $tag$ $$ ? $tag$ ?", "$$?$$ $1 $tag$ $$ ? $tag$ $2"],
  ["a dollar within a name quotes nothing", "a$b$ = ? AND a$b$ = ?", "a$b$ = $1 AND a$b$ = $2"],
  ["comments stay, nested ones too", "-- ?\n? /* ? /* ? */ ? */ ?", "-- ?\n$1 /* ? /* ? */ ? */ $2"],
  ["a doubled question mark is one", "tags ?? ? AND tags ??| ?", "tags ? $1 AND tags ?| $2"],
  ["what is not closed reaches to the end", "? /* ?", "$1 /* ?"],
];

for (const [name, sql, expected] of cases) {
  test(`${name}: ${sql.replaceAll("\n", "\\n")}`, () => assert.equal(numberPlaceholders(sql), expected));
}
