import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import type { Batch, MessageEngine } from "../contracts/messages.ts";
import { type Bench, onDisk, onMemory } from "./fixtures.test.ts";
import { type Loss, type Topic, type TopicOptions, text, topic } from "./index.ts";

function range(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

async function isSettled(notes: Topic<string>): Promise<boolean> {
  return (await notes.lag("g")).messages === 0;
}

function watched(engine: Bench["engine"], losses: Loss[], more: Partial<TopicOptions<string>> = {}): Topic<string> {
  const lossDetection = { graceMs: 1_000, onLoss: (loss: Loss) => void losses.push(loss) };
  const options = { codec: text(), groups: ["g"], partitions: 1, lossDetection };
  return topic(engine, "notes", { ...options, ...more } as TopicOptions<string>);
}

/** Says of the messages that `drops` names that they are stored, and throws them away. */
function dropping(engine: Bench["engine"], drops: (value: string) => boolean): Bench["engine"] {
  const { messages } = engine;
  const append = async (batch: Batch): Promise<readonly (bigint | undefined)[]> => {
    const kept = batch.messages.filter(({ body }) => !drops(text().decode(body)));
    const stored = kept.length === 0 ? [] : await messages.append({ ...batch, messages: kept, producer: undefined });
    return batch.messages.map((message) => stored[kept.indexOf(message)] ?? 0n);
  };
  return { ...engine, messages: { ...messages, append } as MessageEngine };
}

test("a message that the engine drops is reported with its number, once, after the grace time", () =>
  onMemory(async ({ engine, until, world, sleep, log }) => {
    const losses: Loss[] = [];
    const notes = watched(
      dropping(engine, (value) => value === "7"),
      losses,
    );
    let seen = 0;
    const consumer = await notes.consume("g", () => {
      seen += 1;
    });
    const receipts = [];
    for (const value of range(20)) receipts.push(await notes.publish(value, { key: "k" }));
    const at = world.clock.monotonic();
    await until(() => seen === 19);
    assert.equal(losses.length, 0);
    await until(() => losses.length > 0);
    assert.ok(world.clock.monotonic() - at >= 900);
    await sleep(10_000);
    await consumer.close();
    assert.equal(losses.length, 1);
    const { producer, ...rest } = losses[0]!;
    assert.ok(producer.length > 0);
    assert.deepEqual(rest, {
      ...{ topic: "notes", group: "g", partition: 0, first: 7, last: 7, count: 1 },
      ...{ after: receipts[6]!.position, before: receipts[8]!.position },
    });
    assert.equal(log.filter((line) => line === "error: messages were lost").length, 1);
  }));

test("a backlog is checked too, and several that are missing in a row are one report", () =>
  onMemory(async ({ engine, until }) => {
    const losses: Loss[] = [];
    const notes = watched(
      dropping(engine, (value) => ["3", "4", "5", "8"].includes(value)),
      losses,
    );
    await notes.publishMany(range(10).map((value) => ({ value })));
    const consumer = await notes.consume("g", () => {});
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(
      losses.map(({ first, last, count }) => [first, last, count]),
      [
        [3, 5, 3],
        [8, 8, 1],
      ],
    );
  }));

test("producers and partitions are told apart", () =>
  onMemory(async ({ engine, until }) => {
    const losses: Loss[] = [];
    const lossy = dropping(engine, (value) => value === "one 2" || value === "two 1");
    const one = watched(lossy, losses, { partitions: 2 });
    const two = watched(lossy, [], { partitions: 2 });
    const consumer = await one.consume("g", () => {});
    for (const value of range(4)) {
      await one.publish(`one ${value}`, { partition: 0 });
      await two.publish(`two ${value}`, { partition: 0 });
      await one.publish(`one other ${value}`, { partition: 1 });
    }
    await until(() => losses.length === 2);
    await until(() => isSettled(one));
    await consumer.close();
    assert.deepEqual(losses.map(({ partition, first }) => [partition, first]).toSorted(), [
      [0, 1],
      [0, 2],
    ]);
    assert.notEqual(losses[0]!.producer, losses[1]!.producer);
  }));

test("a message that comes late, within the grace time, is no loss", () =>
  onMemory(async ({ engine, faults, until, sleep }) => {
    const losses: Loss[] = [];
    const notes = watched(engine, losses);
    await notes.publishMany(range(10).map((value) => ({ value })));
    faults.fetch = async (_limit, apply) => {
      const messages = [...(await apply())];
      if (messages.length === 10) messages.push(...messages.splice(2, 3), ...messages.splice(4, 1));
      return messages;
    };
    const consumer = await notes.consume("g", () => {});
    await until(() => isSettled(notes));
    await sleep(10_000);
    await consumer.close();
    assert.deepEqual(losses, []);
  }));

test("what the group's filter leaves out, what is retried, moved and dead has been seen", () =>
  onMemory(async ({ engine, until }) => {
    const losses: Loss[] = [];
    const notes = watched(engine, losses);
    await notes.publishMany(
      range(60).map((value) => ({ value, tag: Number(value) % 3 === 0 ? "out" : "in", ...keyOf(value) })),
    );
    let failures = 0;
    const consumer = await notes.consume(
      "g",
      (value, { attempt }) => {
        if (Number(value) % 5 !== 1) return;
        if (attempt < 4) {
          failures += 1;
          throw new Error("again");
        }
      },
      { filter: { tags: ["in"] }, retry: { attemptsMax: 2, delayMs: 200_000, delayMsMax: 200_000 } },
    );
    await until(() => isSettled(notes));
    assert.ok(failures > 10);
    const letters = notes.deadLetters("g");
    assert.equal(await letters.count(), failures / 3);
    await letters.redrive();
    await until(() => isSettled(notes));
    await notes.publish("last", { tag: "in" });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(losses, []);
  }));

function keyOf(value: string): { key?: string } {
  return Number(value) % 2 === 0 ? { key: `k${Number(value) % 8}` } : {};
}

test("delayed messages and those with an id come out of order or not at all, and are no loss", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const losses: Loss[] = [];
    const notes = watched(engine, losses);
    const consumer = await notes.consume("g", () => {});
    for (const value of range(20)) {
      const number = Number(value);
      await notes.publish(value, {
        ...(number % 4 === 1 && { delayMs: 5_000 * number }),
        ...(number % 4 === 2 && { id: "the same" }),
        partition: 0,
      });
    }
    await sleep(120_000);
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(losses, []);
  }));

test("refused, repeated and given up batches leave no gap in the numbers", () =>
  onMemory(async ({ engine, faults, until, world }) => {
    const losses: Loss[] = [];
    const notes = watched(engine, losses, { publishTimeoutMs: 200, batchCountMax: 3 });
    let calls = 0;
    faults.append = async (_, apply) => {
      calls += 1;
      if (calls % 5 === 1) throw new TenonError("overloaded", "full", { outcome: "not-applied" });
      if (calls % 5 === 2) throw new TenonError("unavailable", "the request was lost", { outcome: "unknown" });
      if (calls % 5 === 3) {
        await apply();
        throw new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });
      }
      if (calls % 11 === 7) await world.timers.sleep(1_000);
      return await apply();
    };
    const seen: string[] = [];
    const consumer = await notes.consume("g", (value) => void seen.push(value));
    let refused = 0;
    for (const value of range(300)) {
      notes.publish(value, { key: "k" }).catch(() => {
        refused += 1;
      });
      if (Number(value) % 4 === 0) await world.timers.sleep(5);
    }
    await world.timers.sleep(60_000);
    await until(() => isSettled(notes));
    await consumer.close();
    assert.ok(refused > 20 && refused < 280, `${refused} were refused`);
    assert.deepEqual(losses, []);
  }));

for (const ending of ["given up", "refused"]) {
  test(`after a batch whose fate is unknown was ${ending}, numbers begin anew, so that no loss hides behind them`, () =>
    onMemory(async ({ engine, until }) => {
      const losses: Loss[] = [];
      const canary = dropping(engine, (value) => value === "b1");
      let attempts = 0;
      const append = async (batch: Batch): Promise<readonly (bigint | undefined)[]> => {
        if (!text().decode(batch.messages[0]!.body).startsWith("a")) return await canary.messages.append(batch);
        attempts += 1;
        if (attempts === 1) await engine.messages.append(batch);
        else if (ending === "refused") throw new TenonError("overloaded", "full");
        throw new TenonError("unavailable", "no reply", { outcome: "unknown" });
      };
      const notes = watched({ ...engine, messages: { ...engine.messages, append } }, losses, { publishTimeoutMs: 200 });
      const consumer = await notes.consume("g", () => {});
      await assert.rejects(notes.publishMany(range(5).map((value) => ({ value: `a${value}` }))));
      for (const value of ["b0", "b1", "b2"]) await notes.publish(value);
      await until(() => losses.length === 1);
      await consumer.close();
      assert.deepEqual([losses[0]!.first, losses[0]!.last], [1, 1]);
    }));
}

test("rebalancing, with retries under way, raises no false alarm, and a loss after it is found", () =>
  onMemory(async ({ engine, until, sleep, world }) => {
    const losses: Loss[] = [];
    const notes = watched(
      dropping(engine, (value) => value === "lost"),
      losses,
      { partitions: 4 },
    );
    const handler = async (): Promise<void> => {
      await sleep(world.random.float() * 30);
      if (world.random.float() < 0.3) throw new Error("by chance");
    };
    const options = { retry: { delayMs: 50 } };
    const publishing = async (): Promise<void> => {
      for (const value of range(400)) {
        await notes.publish(value, { key: `k${Number(value) % 20}` });
        await sleep(5);
      }
    };
    const done = publishing();
    const first = await notes.consume("g", handler, options);
    for (let round = 0; round < 10; round += 1) {
      const second = await notes.consume("g", handler, options);
      await sleep(100);
      await second.close();
      await sleep(50);
    }
    await done;
    await until(() => isSettled(notes));
    assert.equal(losses.length, 0);
    for (const value of ["before", "lost", "behind"]) await notes.publish(value, { partition: 2 });
    await until(() => losses.length === 1);
    await first.close();
  }));

test("a restart in the middle of handling raises no false alarm", () =>
  onDisk([
    async ({ engine, until, sleep }) => {
      const notes = watched(engine, []);
      await notes.publishMany(range(100).map((value) => ({ value, key: value })));
      let settled = 0;
      await notes.consume("g", async (value) => {
        if (Number(value) % 3 === 0) await new Promise(() => {});
        settled += 1;
      });
      await until(() => settled === 66);
      await sleep(100);
    },
    async ({ engine, until, sleep }) => {
      const losses: Loss[] = [];
      const notes = watched(engine, losses);
      let seen = 0;
      const consumer = await notes.consume("g", () => {
        seen += 1;
      });
      for (const value of range(20)) await notes.publish(value, { key: value });
      await until(() => isSettled(notes));
      await sleep(10_000);
      await consumer.close();
      assert.ok(seen >= 54 && seen < 120, `${seen} were handled: those that were left, and the new ones`);
      assert.deepEqual(losses, []);
    },
  ]));

test("seeking back and forth raises no false alarm", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const losses: Loss[] = [];
    const notes = watched(engine, losses);
    const receipts = await notes.publishMany(range(50).map((value) => ({ value })));
    const consumer = await notes.consume("g", () => {});
    await until(() => isSettled(notes));
    for (const to of ["earliest", "now", { positions: new Map([[0, receipts[20]!.position!]]) }] as const) {
      await notes.seek("g", to);
      await notes.publish("more");
      await until(() => isSettled(notes));
    }
    await sleep(10_000);
    await consumer.close();
    assert.deepEqual(losses, []);
  }));

test("without loss detection nothing is numbered, and what is not numbered is not missed", () =>
  onMemory(async ({ engine, until }) => {
    const losses: Loss[] = [];
    const plain = topic(
      dropping(engine, (value) => value === "1"),
      "notes",
      { codec: text(), groups: ["g"], partitions: 1 },
    );
    const headers: unknown[] = [];
    await plain.publishMany(range(3).map((value) => ({ value })));
    const consumer = await watched(engine, losses).consume("g", (_, context) => void headers.push(context.headers));
    await until(() => isSettled(plain));
    await consumer.close();
    assert.deepEqual(headers, [{}, {}]);
    assert.deepEqual(losses, []);
  }));

test("a report that throws harms nobody, and the engine that cannot be asked is asked again", () =>
  onMemory(async ({ engine, until, log }) => {
    let asked = 0;
    const describe = async (name: string): ReturnType<MessageEngine["describe"]> => {
      asked += 1;
      if (asked <= 3) throw new TenonError("unavailable", "not now");
      return await engine.messages.describe(name);
    };
    const shy = { ...engine, messages: { ...engine.messages, describe } };
    const onLoss = (): never => {
      throw new Error("the report fails");
    };
    const notes = watched(
      dropping(shy, (value) => value === "1"),
      [],
      { lossDetection: { graceMs: 10, onLoss } },
    );
    await notes.declare();
    await notes.publishMany(range(4).map((value) => ({ value })));
    let seen = 0;
    const consumer = await notes.consume("g", () => {
      seen += 1;
    });
    await until(() => seen === 3);
    await until(() => log.some((line) => line.includes("reporting lost messages failed")));
    await consumer.close();
    assert.ok(asked > 3);
  }));

test("options of the loss detector that make no sense are refused", () =>
  onMemory(async ({ engine }) => {
    for (const lossDetection of [{ graceMs: 0 }, { onLoss: "x" as never }, "yes" as never, null as never]) {
      assert.throws(() => watched(engine, [], { lossDetection }), { code: "invalid" });
    }
  }));
