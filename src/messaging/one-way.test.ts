import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import { type Bench, onMemory } from "./fixtures.test.ts";
import { type LostMessage, type Topic, type TopicOptions, text, topic } from "./index.ts";

function made(bench: Bench, options: Partial<TopicOptions<string>> = {}) {
  const lost: LostMessage<string>[] = [];
  const target: Topic<string> = topic(bench.engine, "t", {
    codec: text(),
    partitions: 1,
    groups: ["g"],
    onLost: (each: LostMessage<string>) => lost.push(each),
    ...options,
  } as TopicOptions<string>);
  return { target, lost };
}

async function stored(bench: Bench): Promise<number> {
  return (await bench.engine.messages.describe("t")).groups[0]!.lanes[0]!.lag;
}

test("what is published one way is stored without anybody waiting", () =>
  onMemory(async (bench) => {
    const { target, lost } = made(bench);
    for (let number = 0; number < 10; number++) assert.equal(target.publishOneWay(`m${number}`, { key: "k" }), true);
    assert.deepEqual(target.oneWay, { waiting: 10, stored: 0, lost: 0 });
    await bench.until(() => target.oneWay.waiting === 0);
    assert.deepEqual(target.oneWay, { waiting: 0, stored: 10, lost: 0 });
    const seen: string[] = [];
    const consumer = await target.consume("g", (value) => void seen.push(value));
    await bench.until(() => seen.length === 10);
    assert.deepEqual(
      seen,
      Array.from({ length: 10 }, (_, number) => `m${number}`),
    );
    assert.deepEqual(lost, []);
    await consumer.close();
    await target.close();
  }));

test("what the engine refuses is counted, told and logged, and rejects nowhere", () =>
  onMemory(async (bench) => {
    const { target, lost } = made(bench);
    bench.faults.append = async () => {
      throw new TenonError("overloaded", "the disk is full");
    };
    assert.equal(target.publishOneWay("m"), true);
    await bench.until(() => target.oneWay.lost === 1);
    assert.equal(lost[0]!.value, "m");
    assert.ok(lost[0]!.error instanceof TenonError && lost[0]!.error.outcome === "not-applied");
    assert.deepEqual(bench.log, ["error: messages published one way were lost"]);
    await target.close();
  }));

test("over its bound a message is refused at once, visibly, and there is room again when the engine has answered", () =>
  onMemory(async (bench) => {
    const { target, lost } = made(bench, { oneWayBytesMax: 1_000 });
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    bench.faults.append = async (_, apply) => {
      await gate;
      return apply();
    };
    const accepted = Array.from({ length: 10 }, () => target.publishOneWay("x".repeat(200)));
    assert.deepEqual(accepted, [true, true, true, ...Array.from({ length: 7 }, () => false)]);
    assert.equal(lost.length, 7);
    assert.ok(lost.every(({ error }) => error instanceof TenonError && error.code === "overloaded"));
    open();
    await bench.until(() => target.oneWay.waiting === 0);
    for (let again = 0; again < 3; again++) assert.equal(target.publishOneWay("x".repeat(200)), true);
    await bench.until(() => target.oneWay.waiting === 0);
    assert.deepEqual(target.oneWay, { waiting: 0, stored: 6, lost: 7 });
    assert.equal(await stored(bench), 6);
    await target.close();
  }));

test("a single message that is larger than the bound goes through alone", () =>
  onMemory(async (bench) => {
    const { target } = made(bench, { oneWayBytesMax: 10 });
    assert.equal(target.publishOneWay("x".repeat(200)), true);
    assert.equal(target.publishOneWay("x"), false);
    await bench.until(() => target.oneWay.waiting === 0);
    assert.equal(target.oneWay.stored, 1);
    await target.close();
  }));

test("what is wrong with the message itself is thrown where it was published", () =>
  onMemory(async (bench) => {
    const { target, lost } = made(bench);
    assert.throws(() => target.publishOneWay("m", { partition: 7 }), { code: "invalid" });
    assert.throws(() => target.publishOneWay("m", { headers: { "tenon-x": "1" } }), { code: "invalid" });
    assert.deepEqual(target.oneWay, { waiting: 0, stored: 0, lost: 0 });
    assert.deepEqual(lost, []);
    await target.close();
    assert.throws(() => made(bench, { onLost: 7 as never }), { code: "invalid" });
    assert.throws(() => made(bench, { oneWayBytesMax: 0 }), { code: "invalid" });
  }));

test("closing stores what was accepted and refuses what comes after", () =>
  onMemory(async (bench) => {
    const { target, lost } = made(bench);
    target.publishOneWay("before");
    await target.close();
    assert.equal(target.publishOneWay("after"), false);
    assert.deepEqual(target.oneWay, { waiting: 0, stored: 1, lost: 1 });
    assert.ok(lost[0]!.error instanceof TenonError && lost[0]!.error.code === "closed");
    assert.equal(await stored(bench), 1);
  }));

test("a flood of losses is one line in the log per second, and an onLost that throws harms nothing", () =>
  onMemory(async (bench) => {
    const { target } = made(bench, {
      onLost: () => {
        throw new Error("not now");
      },
    });
    await target.declare();
    await target.close();
    const losses = () => bench.log.filter((line) => line.includes("were lost")).length;
    for (let number = 0; number < 100; number++) target.publishOneWay("m");
    assert.equal(losses(), 1);
    await bench.sleep(1_001);
    assert.equal(losses(), 2);
    await bench.sleep(5_000);
    assert.equal(losses(), 2);
    assert.equal(bench.log.filter((line) => line === "error: onLost threw").length, 100);
    assert.equal(target.oneWay.lost, 100);
  }));

test("interceptors stand around what is published one way, and what they throw loses it", () =>
  onMemory(async (bench) => {
    const { target, lost } = made(bench, {
      interceptors: [
        {
          publish(message, next) {
            if (message.value === "bad") throw new Error("not this one");
            message.headers.seen = "yes";
            return next();
          },
        },
      ],
    });
    assert.equal(target.publishOneWay("good"), true);
    assert.equal(target.publishOneWay("bad"), true);
    await bench.until(() => target.oneWay.waiting === 0);
    assert.deepEqual(target.oneWay, { waiting: 0, stored: 1, lost: 1 });
    assert.match(String(lost[0]!.error), /not this one/);
    const headers: unknown[] = [];
    const consumer = await target.consume("g", (_, context) => void headers.push({ ...context.headers }));
    await bench.until(() => headers.length === 1);
    assert.deepEqual(headers, [{ seen: "yes" }]);
    await consumer.close();
    await target.close();
  }));
