import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { lines } from "./lines.ts";

async function* cut(bytes: Buffer, at: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0;
  for (const end of [...at, bytes.length].sort((a, b) => a - b)) {
    yield bytes.subarray(from, Math.max(from, end));
    from = Math.max(from, end);
  }
}

test("lines are found however the bytes were cut", async () => {
  const text = fc
    .string({ unit: "binary" })
    .filter((line) => line !== "" && !line.includes("\n") && line.isWellFormed());
  await fc.assert(
    fc.asyncProperty(fc.array(text), fc.array(fc.nat(200)), async (expected, at) => {
      const bytes = Buffer.from(`${expected.join("\n\n")}\nwithout an end`);
      const found: string[] = [];
      const within = at.filter((end) => end <= bytes.length);
      for await (const line of lines(cut(bytes, within))) found.push(line);
      assert.deepEqual(found, expected);
    }),
  );
});
