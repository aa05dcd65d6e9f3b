/** What waits for a retry far away moves, too: as what it is where the other engine can delay, else it goes to the topic itself, for its group alone, when it is due. */
import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Batch, MessageEngine } from "tenon/contracts";
import { type EmbeddedEngine, embedded, memory } from "tenon/embedded";
import { json, type Topic, topic } from "tenon/messaging";
import { type MessagingEngine, moveTopic, moving } from "tenon/moving";
import { systemWorld, type World } from "tenon/world";
import { engine } from "../engines.ts";
import { deleteTopics, serverOf, startKafka, testPrefix } from "../kafka-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));
const kafka = await engine("kafka");
const count = 40;

/** Its clock is ahead by so much, and its chance is always the same: each wait is nine tenths of the longest. */
function worldAhead(aheadMs: number): World {
  const world = systemWorld();
  const { clock, random } = world;
  return {
    ...world,
    clock: { now: () => clock.now() + aheadMs, monotonic: () => clock.monotonic() + aheadMs },
    random: { float: () => 0.9, bytes: (length) => random.bytes(length), uuid: () => random.uuid() },
  };
}

function orders(messaging: MessagingEngine): Topic<number> {
  return topic(messaging, "orders", { codec: json<number>(), partitions: 4, groups: ["billing", "statistics"] });
}

async function untilSettled(messaging: MessagingEngine): Promise<void> {
  for (;;) {
    const { groups } = await messaging.messages.describe("orders");
    if (groups.every(({ lanes }) => lanes.every(({ lag }) => lag === 0))) return;
    await sleep(20);
  }
}

/** All fail in billing and wait there for nine minutes; statistics has had them. */
async function failOnce(from: EmbeddedEngine): Promise<void> {
  await using target = orders(from);
  const retry = { delayMs: 600_000, delayMsMax: 600_000 };
  await target.consume("billing", () => Promise.reject(new Error("not now")), { retry });
  await target.consume("statistics", () => undefined);
  for (let number = 0; number < count; number++) await target.publish(number);
  await untilSettled(from);
  assert.equal((await from.messages.describe("orders..billing..retry")).delayedCount, count);
}

async function moveRetries(t: TestContext, to: MessagingEngine): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "tenon-move-"));
  t.after(() => rm(directory, { recursive: true }));
  const before = await embedded({ directory, world: worldAhead(0) });
  await failOnce(before);
  await before.close();

  await using from = await embedded({ directory, world: worldAhead(600_000) });
  await using target = orders(moving(from, to, { pollMs: 50 }));
  const billed: string[] = [];
  const counted: number[] = [];
  await target.consume("billing", (number, { attempt }) => void billed.push(`${number}, attempt ${attempt}`));
  await target.consume("statistics", (number) => void counted.push(number));
  const { topics } = await moveTopic({ from, to, topic: "orders", pollMs: 50 });
  assert.ok(topics.includes("orders..billing..retry"));
  await untilSettled(to);
  const expected = Array.from({ length: count }, (_, number) => `${number}, attempt 2`);
  assert.deepEqual(billed.toSorted(), expected.toSorted());
  assert.deepEqual(counted, [], "others do not see them again");
}

const toKafka = { skip: kafka.skip, timeout: 120_000 };
test("retries that wait on the embedded engine are made on Kafka", toKafka, async (t) => {
  const server = serverOf(kafka.url);
  const prefix = testPrefix();
  const { engine: to } = await startKafka(server, prefix);
  t.after(async () => {
    await to.close();
    await deleteTopics(server, prefix);
  });
  await moveRetries(t, to);
});

/** Like one that somebody else made. */
function withoutDelay(sound: MessageEngine): MessageEngine {
  const capabilities = { ...sound.capabilities, delay: false };
  const append = (batch: Batch): ReturnType<MessageEngine["append"]> => {
    assert.ok(
      batch.messages.every(({ dueAt }) => dueAt === undefined),
      "it was given a delayed message",
    );
    return sound.append(batch);
  };
  return new Proxy(sound, {
    get: (target, member: keyof MessageEngine) => {
      if (member === "capabilities") return capabilities;
      if (member === "append") return append;
      const value = target[member];
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

test("retries that wait on the embedded engine are made on an engine without delay", async (t) => {
  await using sound = await memory();
  await moveRetries(t, { world: sound.world, messages: withoutDelay(sound.messages) });
});
