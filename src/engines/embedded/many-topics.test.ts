import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { embedded } from "./index.ts";

test("ten thousand topics of eight partitions, each with messages, take no file each and come back", async () => {
  const directory = await mkdtemp(join(tmpdir(), "tenon-topics-"));
  const count = 10_000;
  const engine = await embedded({ directory });
  const declared = Array.from({ length: count }, (_, n) =>
    engine.messages.declare(`topic ${n}`, { partitions: 8, groups: ["group"] }),
  );
  await Promise.all(declared);
  const appended = Array.from({ length: count }, (_, n) => {
    const messages = [{ body: Buffer.from(`of topic ${n}`) }];
    return engine.messages.append({ topic: `topic ${n}`, partition: n % 8, messages });
  });
  await Promise.all(appended);
  await engine.close();
  assert.ok((await readdir(directory)).length < 10, "there is a file per topic");
  const again = await embedded({ directory });
  assert.equal((await again.messages.topics()).length, count);
  for (const n of [0, 4_321, count - 1]) {
    const { partitions, groups } = await again.messages.describe(`topic ${n}`);
    assert.deepEqual(
      partitions.map(({ next }) => next),
      Array.from({ length: 8 }, (_, partition) => (partition === n % 8 ? 1n : 0n)),
    );
    assert.equal(groups[0]!.lanes[n % 8]!.lag, 1);
  }
  await again.close();
  await rm(directory, { recursive: true });
});
