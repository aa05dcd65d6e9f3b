/** Does one step for `runEngineStep` and ends. */
import { existsSync, readdirSync } from "node:fs";
import { embedded } from "../src/engines/embedded/index.ts";
import { bytes, topic } from "../src/messaging/index.ts";
import type { EngineStep, EngineStepAnswer, EngineStepRequest } from "./engine-step.ts";
import { BODIES, complete, KEYS } from "./load.ts";

const BATCH = 1_000;
const BATCHES_IN_FLIGHT = 8;
const DECLARING = 500;
const GROUP = "workers";
const BACKLOG = "backlog";

type Engine = Awaited<ReturnType<typeof embedded>>;

const topicOptions = { codec: bytes(), partitions: 8, groups: [GROUP] } as const;

process.once("message", async (request: EngineStepRequest) => {
  try {
    await run(request);
  } catch (error) {
    process.send!({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
  process.disconnect();
});

async function run({ directory, step }: EngineStepRequest): Promise<void> {
  const before = descriptorCount();
  const from = performance.now();
  const engine = await embedded({ directory });
  const openMs = performance.now() - from;
  const found = await contentOf(engine);
  const answer = (): EngineStepAnswer => ({
    ...found,
    openMs,
    workMs: performance.now() - from - openMs,
    residentBytesMax: process.resourceUsage().maxRSS * 1_024,
    descriptors: descriptorCount() - before,
  });
  await work(engine, step);
  if (step.name.endsWith("-until-killed")) {
    process.send!(answer());
    if (step.name === "publish-until-killed") await publish(engine, Number.POSITIVE_INFINITY);
    await new Promise(() => setInterval(() => {}, 1_000));
  }
  const result = answer();
  await engine.close();
  process.send!(result);
}

async function contentOf(engine: Engine): Promise<{ readonly topics: number; readonly unsettled: number }> {
  const names = await engine.messages.topics();
  if (!names.includes(BACKLOG)) return { topics: names.length, unsettled: 0 };
  const { groups } = await engine.messages.describe(BACKLOG);
  const lanes = groups.find(({ group }) => group === GROUP)?.lanes ?? [];
  return { topics: names.length, unsettled: lanes.reduce((sum, { lag }) => sum + lag, 0) };
}

async function work(engine: Engine, step: EngineStep): Promise<void> {
  switch (step.name) {
    case "open":
      return;
    case "publish":
    case "publish-until-killed":
      return publish(engine, step.count);
    case "declare-topics":
    case "declare-until-killed":
      return declareTopics(engine, step.count);
    case "consume":
      return consume(engine, step.count);
  }
}

async function publish(engine: Engine, count: number): Promise<void> {
  const messages = topic(engine, BACKLOG, topicOptions);
  await complete(count / BATCH, BATCHES_IN_FLIGHT, (batch) =>
    messages.publishMany(
      Array.from({ length: BATCH }, (_, index) => ({
        value: BODIES[(batch + index) % BODIES.length]!,
        key: KEYS[(batch * 7 + index) % KEYS.length]!,
      })),
    ),
  );
  await messages.close();
}

async function declareTopics(engine: Engine, count: number): Promise<void> {
  await complete(count, DECLARING, async (n) => {
    await using messages = topic(engine, `topic-${n}`, topicOptions);
    await messages.declare();
    await messages.publish(BODIES[0]!, { key: KEYS[n % KEYS.length]! });
  });
}

async function consume(engine: Engine, count: number): Promise<void> {
  const messages = topic(engine, BACKLOG, topicOptions);
  let handled = 0;
  const enough = Promise.withResolvers<void>();
  const handler = async () => {
    if (++handled === count) enough.resolve();
  };
  const consumer = await messages.consume(GROUP, handler, { concurrency: 1_024 });
  await enough.promise;
  await consumer.close();
  await messages.close();
}

function descriptorCount(): number {
  return existsSync("/proc/self/fd") ? readdirSync("/proc/self/fd").length : 0;
}
