/** What a process has delayed comes when it has died: another one that consumes the topic keeps it then. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ConformanceHost, MessagesEngine } from "tenon/conformance";
import { engine } from "./engines.ts";
import { kafkaHost, serverOf } from "./kafka-host.ts";
import { rabbitmqHost } from "./rabbitmq-host.ts";
import { keepAlive } from "./server-suites.ts";

keepAlive();
const [kafka, rabbitmq] = await Promise.all([engine("kafka"), engine("rabbitmq")]);

const hosts: readonly { name: string; skip: string | false; host: () => ConformanceHost<MessagesEngine> }[] = [
  { name: "Kafka", skip: kafka.skip, host: () => kafkaHost(serverOf(kafka.url)) },
  { name: "RabbitMQ", skip: rabbitmq.skip, host: () => rabbitmqHost(rabbitmq.url) },
];

const count = 200;

for (const { name, skip, host } of hosts) {
  test(`on ${name} each message that a process had delayed comes once, though that one dies in the midst of them`, {
    skip,
  }, async (t) => {
    const subject = await host().start();
    t.after(() => subject.stop());
    const { messages, world } = subject.engine;
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    const start = world.clock.now() + 1_000;
    const dueAt = Array.from({ length: count }, (_, index) => start + index * 5);
    const delayed = dueAt.map((at, index) => ({ body: Buffer.from(String(index)), dueAt: at }));
    await messages.append({ topic: "orders", partition: 0, messages: delayed });
    // Some have come by then, some are coming, and some are not due.
    while ((await messages.describe("orders")).delayedCount > count / 2) await world.timers.sleep(5);
    await subject.crash!();

    const survivor = subject.engine.messages;
    const member = await survivor.join("orders", "billing", { sessionMs: 10_000, revokeMs: 1_000, windowMax: 1_000 });
    const lane = await member.nextLane();
    const came: number[] = [];
    const notEarly: boolean[] = [];
    const take = async () => {
      const stored = await lane.fetch(count);
      came.push(...stored.map(({ body }) => Number(Buffer.from(body).toString())));
      notEarly.push(
        ...stored.map(({ body, publishedAt }) => publishedAt >= dueAt[Number(Buffer.from(body).toString())]!),
      );
      await lane.commit({ settled: stored.map(({ position }) => position) });
    };
    // Groups start where they were declared: before the first of them.
    while (new Set(came).size < count) await take();
    await survivor.append({ topic: "orders", partition: 0, messages: [{ body: Buffer.from(String(count)) }] });
    dueAt.push(0);
    while (came.at(-1) !== count) await take();
    assert.deepEqual(
      came,
      Array.from({ length: count + 1 }, (_, index) => index),
    );
    assert.ok(notEarly.every(Boolean));
    assert.equal((await survivor.describe("orders")).delayedCount, 0);
  });
}
