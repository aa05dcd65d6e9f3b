import assert from "node:assert/strict";
import { test } from "node:test";
import { json, text } from "../codec/index.ts";
import { TenonError } from "../contracts/errors.ts";
import { memory } from "../engines/embedded/index.ts";
import { type Bench, onDisk, onMemory } from "./fixtures.test.ts";
import {
  type Replier,
  type ReplierOptions,
  type Requester,
  type RequesterOptions,
  type RequestHandler,
  replier,
  requester,
  topic,
} from "./index.ts";

const codecs = { request: text(), reply: text() };

function asking(bench: Bench, options: Partial<RequesterOptions<string, string>> = {}): Requester<string, string> {
  return requester(bench.engine, "prices", { ...codecs, partitions: 2, ...options });
}

function answering(
  bench: Bench,
  handler: RequestHandler<string, string> = (value) => `re: ${value}`,
  options: Partial<ReplierOptions<string, string>> = {},
): Promise<Replier> {
  return replier(bench.engine, "prices", handler, { ...codecs, partitions: 2, ...options });
}

async function replyTopics(bench: Bench): Promise<readonly string[]> {
  return (await bench.engine.messages.topics()).filter((name) => name.includes("..replies.."));
}

test("requests get their own replies, however many are under way, and nothing stays behind", () =>
  onMemory(async (bench) => {
    const server = await answering(bench);
    const client = asking(bench);
    const other = asking(bench);
    const replies = await Promise.all([
      ...Array.from({ length: 200 }, (_, number) => client.request(`a${number}`)),
      ...Array.from({ length: 200 }, (_, number) => other.request(`b${number}`)),
    ]);
    assert.deepEqual(
      replies,
      ["a", "b"].flatMap((name) => Array.from({ length: 200 }, (_, number) => `re: ${name}${number}`)),
    );
    assert.deepEqual(client.counts, { waiting: 0, replied: 200, late: 0 });
    assert.deepEqual(server.counts, { replied: 400, expired: 0, unheard: 0 });
    await client.close();
    await other.close();
    await server.close();
    assert.deepEqual(await replyTopics(bench), []);
  }));

test("the handler learns the request's key, tag and headers", () =>
  onMemory(async (bench) => {
    const seen: unknown[] = [];
    const server = await answering(bench, (value, { key, tag, headers }) => {
      seen.push([key, tag, headers.lang]);
      return value;
    });
    const client = asking(bench);
    await client.request("m", { key: "k", tag: "t", headers: { lang: "de" } });
    assert.deepEqual(seen, [["k", "t", "de"]]);
    await assert.rejects(client.request("m", { headers: { "reply-to": "x" } }), { code: "invalid" });
    await client.close();
    await server.close();
  }));

test("a request waits for its replier, from before there is one", () =>
  onMemory(async (bench) => {
    const client = asking(bench);
    const reply = client.request("m");
    await bench.sleep(1_000);
    const server = await answering(bench);
    assert.equal(await reply, "re: m");
    await client.close();
    await server.close();
  }));

test("what the handler throws is the requester's error, at once and without a retry", () =>
  onMemory(async (bench) => {
    let calls = 0;
    const server = await answering(bench, (value) => {
      calls++;
      if (value === "sold out") throw new TenonError("conflict", "nothing is left", { outcome: "not-applied" });
      throw new Error("it broke");
    });
    const client = asking(bench);
    await assert.rejects(client.request("sold out"), (error: TenonError) => {
      assert.deepEqual([error.code, error.outcome, error.fields.replied], ["conflict", "not-applied", true]);
      assert.match(error.message, /nothing is left/);
      return true;
    });
    await assert.rejects(client.request("m"), (error: TenonError) => {
      assert.deepEqual([error.code, error.outcome], ["unavailable", "unknown"]);
      assert.match(error.message, /Error: it broke/);
      return true;
    });
    await bench.sleep(60_000);
    assert.equal(calls, 2);
    assert.equal(server.counts.replied, 2);
    await client.close();
    await server.close();
  }));

test("a request or reply that cannot be decoded or encoded is an error reply", () =>
  onMemory(async (bench) => {
    const server = await replier(bench.engine, "prices", () => 1n as never, {
      request: json<number>(),
      reply: json<number>(),
      partitions: 2,
    });
    const wrong = asking(bench);
    await assert.rejects(wrong.request("no json"), { code: "invalid", outcome: "not-applied" });
    await assert.rejects(wrong.request("7"), { code: "invalid", outcome: "applied" });
    await wrong.close();
    await server.close();
  }));

test("a reply that the engine could not store is an error reply, and harms no other", () =>
  onMemory(async (bench) => {
    const { messageBytesMax } = bench.engine.messages.capabilities;
    const server = await answering(bench, (value) => (value === "large" ? "x".repeat(messageBytesMax) : value));
    const client = asking(bench);
    const small = client.request("small");
    await assert.rejects(client.request("large"), { code: "invalid", outcome: "applied" });
    assert.equal(await small, "small");
    await client.close();
    await server.close();
  }));

test("without a reply in time the wait ends, and the late reply is dropped and counted", () =>
  onMemory(async (bench) => {
    const server = await answering(bench, async (value) => {
      await bench.sleep(300);
      return value;
    });
    const client = asking(bench);
    const start = bench.world.clock.monotonic();
    await assert.rejects(client.request("m", { timeoutMs: 200 }), {
      code: "timeout",
      outcome: "unknown",
      fields: { topic: "prices", timeoutMs: 200 },
    });
    assert.ok(bench.world.clock.monotonic() - start < 250);
    assert.equal(client.counts.waiting, 0);
    await bench.until(() => client.counts.late === 1);
    assert.deepEqual(client.counts, { waiting: 0, replied: 0, late: 1 });
    await client.close();
    await server.close();
  }));

test("a request whose time is over is not handled", () =>
  onMemory(async (bench) => {
    const client = asking(bench);
    await assert.rejects(client.request("m", { timeoutMs: 100 }), { code: "timeout" });
    let calls = 0;
    const server = await answering(bench, () => String(++calls));
    await bench.until(() => server.counts.expired === 1);
    assert.equal(await client.request("n"), "1");
    await client.close();
    await server.close();
  }));

test("a signal ends the wait with its reason and leaves nothing behind", () =>
  onMemory(async (bench) => {
    const client = asking(bench);
    const leaving = new AbortController();
    const waiting = client.request("m", { signal: leaving.signal });
    await bench.sleep(50);
    assert.equal(client.counts.waiting, 1);
    leaving.abort(new Error("went home"));
    await assert.rejects(waiting, /went home/);
    assert.equal(client.counts.waiting, 0);
    await assert.rejects(client.request("m", { signal: leaving.signal }), /went home/);
    await client.close();
  }));

test("more requests than waitingMax are refused at once", () =>
  onMemory(async (bench) => {
    const client = asking(bench, { waitingMax: 2 });
    const waiting = [client.request("a"), client.request("b")];
    await assert.rejects(client.request("c"), { code: "overloaded", outcome: "not-applied" });
    const server = await answering(bench);
    await Promise.all(waiting);
    assert.equal(await client.request("d"), "re: d");
    await client.close();
    await server.close();
  }));

test("closing rejects the requests that wait, and everything after", () =>
  onMemory(async (bench) => {
    const client = asking(bench);
    const waiting = client.request("m");
    const rejected = assert.rejects(waiting, { code: "closed", outcome: "unknown" });
    await bench.sleep(50);
    await client.close();
    await rejected;
    await assert.rejects(client.request("m"), { code: "closed", outcome: "not-applied" });
    assert.deepEqual(await replyTopics(bench), []);
  }));

test("closing the engine rejects the requests that wait for their replies", async () => {
  const engine = await memory();
  const asked = Promise.withResolvers<void>();
  const hear = (): Promise<string> => {
    asked.resolve();
    return new Promise(() => {});
  };
  const server = await replier(engine, "prices", hear, { ...codecs, drainTimeoutMs: 1 });
  const ended = assert.rejects(server.closed, { code: "closed" });
  const client = requester(engine, "prices", { ...codecs, timeoutMs: 2 ** 31 - 1 });
  const rejected = assert.rejects(client.request("m"), { code: "closed", outcome: "unknown" });
  await asked.promise;
  await engine.close();
  await rejected;
  await assert.rejects(client.request("m"), { code: "closed", outcome: "not-applied" });
  assert.equal(client.counts.waiting, 0);
  await ended;
  await Promise.all([client.close(), server.close()]);
});

test("a reply whose requester is gone is counted and dropped", () =>
  onMemory(async (bench) => {
    const gate = Promise.withResolvers<void>();
    const server = await answering(bench, async (value) => {
      await gate.promise;
      return value;
    });
    const client = asking(bench);
    const waiting = assert.rejects(client.request("m"), { code: "closed" });
    await bench.sleep(100);
    await client.close();
    await waiting;
    gate.resolve();
    await bench.until(() => server.counts.unheard === 1);
    await server.close();
  }));

test("a request that the engine refuses to store rejects with the engine's error", () =>
  onMemory(async (bench) => {
    const client = asking(bench);
    bench.faults.append = async () => {
      throw new TenonError("overloaded", "the disk is full");
    };
    await assert.rejects(client.request("m"), { code: "overloaded", outcome: "not-applied" });
    assert.equal(client.counts.waiting, 0);
    await client.close();
  }));

test("a second reply to the same request is dropped and counted", () =>
  onMemory(async (bench) => {
    const server = await answering(bench);
    const client = asking(bench);
    let doubled = false;
    bench.faults.append = (batch, apply) => {
      if (doubled || !batch.topic.includes("..replies..")) return apply();
      doubled = true;
      // Both come with one fetch.
      return bench.engine.messages.append({ ...batch, messages: [...batch.messages, ...batch.messages] });
    };
    assert.equal(await client.request("m"), "re: m");
    await bench.until(() => client.counts.late === 1);
    assert.deepEqual(client.counts, { waiting: 0, replied: 1, late: 1 });
    await client.close();
    await server.close();
  }));

test("a plain message on the topic is handled too, and an address that is no requester's is not answered", () =>
  onMemory(async (bench) => {
    const seen: string[] = [];
    const server = await answering(bench, (value) => {
      seen.push(value);
      return value;
    });
    const plain = topic(bench.engine, "prices", { codec: text(), partitions: 2 });
    const victim = topic(bench.engine, "victim", { codec: text(), partitions: 1, groups: ["g"] });
    await victim.declare();
    await plain.publish("plain");
    await plain.publish("evil", { headers: { "reply-to": "victim", "correlation-id": "1" } });
    await bench.until(async () => (await plain.lag("repliers")).deadLetters === 1);
    assert.deepEqual(seen, ["plain"]);
    assert.equal((await victim.lag("g")).messages, 0);
    await plain.close();
    await victim.close();
    await server.close();
  }));

test("the inbox of a requester that died is removed by a later one", () =>
  onDisk([
    async (bench) => {
      const server = await answering(bench);
      assert.equal(await asking(bench).request("m"), "re: m");
      assert.equal((await replyTopics(bench)).length, 1);
      void server;
    },
    async (bench) => {
      const [orphan] = await replyTopics(bench);
      assert.ok(orphan !== undefined);
      await bench.sleep(120_000);
      const server = await answering(bench);
      const client = asking(bench);
      assert.equal(await client.request("m"), "re: m");
      await bench.until(async () => !(await replyTopics(bench)).includes(orphan));
      assert.equal(await client.request("n"), "re: n");
      await client.close();
      await server.close();
    },
  ]));

test("when its inbox is lost, a requester makes another one", () =>
  onMemory(async (bench) => {
    const server = await answering(bench);
    const client = asking(bench);
    await client.request("m");
    const [inbox] = await replyTopics(bench);
    await bench.engine.messages.remove(inbox!);
    await bench.sleep(1_000);
    assert.equal(await client.request("n"), "re: n");
    assert.ok(!(await replyTopics(bench)).includes(inbox!));
    await client.close();
    await server.close();
  }));

test("wrong options are invalid", () =>
  onMemory(async (bench) => {
    assert.throws(() => asking(bench, { timeoutMs: 0 }), { code: "invalid" });
    assert.throws(() => asking(bench, { waitingMax: 0 }), { code: "invalid" });
    assert.throws(() => asking(bench, { group: "" }), { code: "invalid" });
    for (const missing of ["request", "reply"]) {
      assert.throws(() => asking(bench, { [missing]: undefined }), { code: "invalid", message: /codec/ });
      const handler = (): string => assert.fail("it was asked");
      await assert.rejects(answering(bench, handler, { [missing]: undefined }), { code: "invalid", message: /codec/ });
    }
    const client = asking(bench);
    await assert.rejects(client.request("m", { timeoutMs: -1 }), { code: "invalid" });
    await assert.rejects(answering(bench, 7 as never), { code: "invalid" });
    await client.close();
  }));
