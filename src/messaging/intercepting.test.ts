import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import { onMemory } from "./fixtures.test.ts";
import { type Interceptor, type OutgoingMessage, type Topic, text, topic, verdict } from "./index.ts";

const options = { codec: text(), groups: ["g"], partitions: 4 };

async function isSettled(notes: Topic<string>): Promise<boolean> {
  return (await notes.lag("g")).messages === 0;
}

function named(name: string, trace: string[]): Interceptor<string> {
  return {
    async publish(message, next) {
      trace.push(`${name} before publish`);
      message.headers[name] = "was here";
      const receipt = await next();
      trace.push(`${name} after publish`);
      return receipt;
    },
    async deliver(_value, _context, next) {
      trace.push(`${name} before delivery`);
      await next();
      trace.push(`${name} after delivery`);
    },
    async deliverBatch(_messages, _context, next) {
      trace.push(`${name} before batch`);
      const verdicts = await next();
      trace.push(`${name} after batch`);
      return verdicts;
    },
  };
}

test("the first interceptor is the outermost, around publishing, handlers and batch handlers", () =>
  onMemory(async ({ engine, until }) => {
    const trace: string[] = [];
    const interceptors = [named("outer", trace), {}, named("inner", trace)];
    const notes = topic(engine, "notes", { ...options, interceptors });
    const around = (what: string): string[] => [
      `outer before ${what}`,
      `inner before ${what}`,
      `inner after ${what}`,
      `outer after ${what}`,
    ];
    await notes.publish("a", { headers: { own: "1" } });
    assert.deepEqual(trace.splice(0), around("publish"));
    const first = await notes.consume("g", (_, { headers }) => {
      assert.deepEqual({ ...headers }, { own: "1", outer: "was here", inner: "was here" });
    });
    await until(() => isSettled(notes));
    await first.close();
    assert.deepEqual(trace.splice(0), around("delivery"));
    await notes.publish("b");
    trace.splice(0);
    const second = await notes.consumeBatch("g", () => {});
    await until(() => isSettled(notes));
    await second.close();
    assert.deepEqual(trace, around("batch"));
    assert.equal(await notes.deadLetters("g").count(), 0);
  }));

test("publishing interceptors see the partition that was chosen, and what the message is", () =>
  onMemory(async ({ engine, world }) => {
    const seen: OutgoingMessage<string>[] = [];
    const watching: Interceptor<string> = {
      publish: (message, next) => {
        seen.push(message);
        return next();
      },
    };
    const notes = topic(engine, "notes", { ...options, interceptors: [watching] });
    const dueAt = world.clock.now() + 5_000;
    const receipts = [
      await notes.publish("keyed", { key: "k", tag: "t", id: "i" }),
      await notes.publish("keyless"),
      await notes.publish("fixed", { partition: 3, dueAt }),
      ...(await notes.publishMany([{ value: "many", headers: { h: "1" } }, { value: "more" }])),
    ];
    assert.deepEqual(
      seen.map(({ partition }) => partition),
      receipts.map(({ partition }) => partition),
    );
    const { topic: name, value, key, tag, id } = seen[0]!;
    assert.deepEqual([name, value, key, tag, id], ["notes", "keyed", "k", "t", "i"]);
    assert.deepEqual([seen[2]!.dueAt, seen[1]!.dueAt, { ...seen[3]!.headers }], [dueAt, undefined, { h: "1" }]);
  }));

test("keyless messages still spread over the partitions", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { ...options, interceptors: [{ publish: (_, next) => next() }] });
    const partitions = new Set<number>();
    for (let round = 0; round < 4; round += 1) partitions.add((await notes.publish("a")).partition);
    assert.equal(partitions.size, 4);
  }));

test("an interceptor may answer for a message: what is thrown before next keeps it from being stored", () =>
  onMemory(async ({ engine }) => {
    const refusal = new Error("not this one");
    const guard: Interceptor<string> = {
      publish: (message, next) => {
        if (message.value === "refused") throw refusal;
        return next();
      },
    };
    const late: Interceptor<string> = {
      publish: async (message, next) => {
        await next();
        if (message.value === "late") throw refusal;
        return { partition: 0, position: undefined };
      },
    };
    const notes = topic(engine, "notes", { ...options, interceptors: [late, guard] });
    await assert.rejects(notes.publish("refused"), refusal);
    assert.equal((await notes.lag("g")).messages, 0);
    await assert.rejects(notes.publish("late"), refusal);
    assert.equal((await notes.lag("g")).messages, 1, "it is stored nevertheless");
    assert.deepEqual(await notes.publish("fine"), { partition: 0, position: undefined });
  }));

test("headers that an interceptor adds hold to the rules of headers, and next is called once", () =>
  onMemory(async ({ engine }) => {
    const add = (headers: Record<string, string>): Interceptor<string> => ({
      publish: (message, next) => {
        Object.assign(message.headers, headers);
        return next();
      },
    });
    const twice: Interceptor<string> = { publish: (_, next) => next().then(next) };
    const large = "x".repeat(engine.messages.capabilities.messageBytesMax);
    for (const wrong of [add({ "tenon-x": "1" }), add({ a: 7 as never }), add({ large }), twice]) {
      const notes = topic(engine, "notes", { ...options, interceptors: [wrong] });
      await assert.rejects(notes.publish("a"), { code: "invalid" });
    }
  }));

test("the publisher's own headers are not changed", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { ...options, interceptors: [named("x", [])] });
    const headers = { own: "1" };
    await notes.publish("a", { headers });
    assert.deepEqual(headers, { own: "1" });
  }));

test("a throw around a handler is the handler's failure, and not calling next settles the message", () =>
  onMemory(async ({ engine, until }) => {
    const gate: Interceptor<string> = {
      async deliver(value, { attempt }, next) {
        if (value === "skip") return;
        if (value === "fail" && attempt === 1) throw new TenonError("unavailable", "not now");
        await next();
      },
    };
    const notes = topic(engine, "notes", { ...options, interceptors: [gate] });
    await notes.publishMany(["skip", "fail", "pass"].map((value) => ({ value, key: value })));
    const seen: [string, number][] = [];
    const consumer = await notes.consume("g", (value, { attempt }) => void seen.push([value, attempt]), {
      retry: { delayMs: 10 },
    });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen.toSorted(), [
      ["fail", 2],
      ["pass", 1],
    ]);
  }));

test("an interceptor sees a synchronous handler's throw, and may change a batch's verdicts", () =>
  onMemory(async ({ engine, until }) => {
    const caught: unknown[] = [];
    const lenient: Interceptor<string> = {
      async deliver(_value, _context, next) {
        await next().catch((error: unknown) => caught.push(error));
      },
      async deliverBatch(messages, _context, next) {
        const verdicts = await next();
        assert.deepEqual(verdicts, [verdict.settle]);
        return messages.map(() => verdict.deadLetter("the interceptor says so"));
      },
    };
    const notes = topic(engine, "notes", { ...options, interceptors: [lenient] });
    await notes.publish("a");
    const failure = new Error("caught");
    const first = await notes.consume("g", () => {
      throw failure;
    });
    await until(() => isSettled(notes));
    await first.close();
    assert.deepEqual(caught, [failure]);
    assert.equal(await notes.deadLetters("g").count(), 0);
    await notes.publish("b");
    const second = await notes.consumeBatch("g", () => [verdict.settle]);
    await until(async () => (await notes.deadLetters("g").count()) === 1);
    await second.close();
  }));

test("interceptors that are none are refused", () =>
  onMemory(async ({ engine }) => {
    for (const interceptors of [[null], [{ publish: "x" }], ["a"], {}]) {
      assert.throws(() => topic(engine, "notes", { ...options, interceptors: interceptors as never }), {
        code: "invalid",
      });
    }
  }));
