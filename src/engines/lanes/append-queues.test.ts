import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TenonError } from "../../contracts/errors.ts";
import { type Appended, AppendQueues } from "./append-queues.ts";
import type { CheckedBatch } from "./batches.ts";

function checked(text: string, { partition = 0, bytes = 10 } = {}): CheckedBatch {
  const messages = [{ body: Buffer.from(text) }];
  return { batch: { topic: "orders", partition, messages }, headers: undefined, bytes, special: false };
}

const textOf = ({ batch }: CheckedBatch) => Buffer.from(batch.messages[0]!.body).toString();

describe("queues of appends", () => {
  test("take what gathered while the change before it was under way, one at a time for each partition", async () => {
    const sent: string[] = [];
    const gates: (() => void)[] = [];
    const queues = new AppendQueues(async (batches) => {
      sent.push(batches.map(textOf).join(" "));
      await new Promise<void>((resolve) => gates.push(resolve));
      return batches.map((_, index): Appended => ({ positions: index }));
    }, 1_000);
    const first = queues.append(checked("a"));
    const other = queues.append(checked("x", { partition: 1 }));
    await Promise.resolve();
    await Promise.resolve();
    const gathered = [queues.append(checked("b")), queues.append(checked("c"))];
    assert.deepEqual(sent, ["a", "x"]);
    gates.shift()!();
    assert.deepEqual(await first, [0n]);
    assert.deepEqual(sent, ["a", "x", "b c"]);
    for (const open of gates) open();
    assert.deepEqual(await Promise.all(gathered), [[0n], [1n]]);
    assert.deepEqual(await other, [0n]);
  });

  test("part what is too much for one change", async () => {
    const sent: number[] = [];
    const queues = new AppendQueues(async (batches) => {
      sent.push(batches.length);
      return batches.map((): Appended => ({ positions: 0 }));
    }, 25);
    await Promise.all(["a", "b", "c", "d", "e"].map((text) => queues.append(checked(text))));
    assert.deepEqual(sent, [2, 2, 1]);
  });

  test("refuse one batch and store its neighbours; a failure is everybody's", async () => {
    const queues = new AppendQueues(async (batches) => {
      if (batches.length === 1) throw new TenonError("unavailable", "no answer", { outcome: "unknown" });
      return batches.map(
        (_, index): Appended => (index === 0 ? { refused: "partition", partitions: 1 } : { positions: 7 }),
      );
    }, 1_000);
    const [refused, stored] = [queues.append(checked("a")), queues.append(checked("b"))];
    await assert.rejects(refused, { code: "invalid" });
    assert.deepEqual(await stored, [7n]);
    await assert.rejects(queues.append(checked("c")), { code: "unavailable", outcome: "unknown" });
  });
});
