import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { text } from "../codec/index.ts";
import { TenonError } from "../contracts/errors.ts";
import { patternTakes } from "./exchange-matching.ts";
import { type Bench, onDisk, onMemory } from "./fixtures.test.ts";
import { type Exchange, type ExchangeOptions, type ExchangeType, exchange, topic } from "./index.ts";

async function declared(bench: Bench, ...names: string[]): Promise<void> {
  for (const name of names) await bench.engine.messages.declare(name, { partitions: 2, groups: ["g"] });
}

function made(bench: Bench, type: ExchangeType, options: Partial<ExchangeOptions<string>> = {}): Exchange<string> {
  return exchange(bench.engine, "x", { type, codec: text(), ...options });
}

async function count(bench: Bench, name: string): Promise<number> {
  const { groups } = await bench.engine.messages.describe(name);
  return groups[0]!.lanes.reduce((sum, lane) => sum + lane.lag, 0);
}

const names = async (routed: Promise<{ readonly targets: readonly { readonly topic: string }[] }>) =>
  (await routed).targets.map((target) => target.topic).join();

/** By definition: `#` is none, or one word and a `#`. */
function takesByDefinition(pattern: readonly string[], words: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return words.length === 0;
  if (first === "#") {
    return takesByDefinition(rest, words) || (words.length > 0 && takesByDefinition(pattern, words.slice(1)));
  }
  return words.length > 0 && (first === "*" || first === words[0]) && takesByDefinition(rest, words.slice(1));
}

test("a pattern takes what its definition says", () => {
  const word = fc.constantFrom("a", "b", "", "ab");
  const part = fc.oneof(word, fc.constantFrom("*", "#"));
  // An empty text has no words; a single empty word cannot be told from it.
  const joined = (list: readonly string[]) => (list.length === 1 && list[0] === "" ? [] : list);
  fc.assert(
    fc.property(fc.array(part, { maxLength: 7 }), fc.array(word, { maxLength: 7 }), (pattern, words) => {
      assert.equal(
        patternTakes(pattern.join("."), words.join(".")),
        takesByDefinition(joined(pattern), joined(words)),
        `${pattern.join(".")} and ${words.join(".")}`,
      );
    }),
    { numRuns: 5_000 },
  );
  assert.equal(patternTakes("order.*.paid", "order.eu.paid"), true);
  assert.equal(patternTakes("order.*", "order.eu.paid"), false);
  assert.equal(patternTakes("order.#", "order"), true);
  assert.equal(patternTakes("#.#.#.#.#.#.#.#.#.x", Array(2_000).fill("a").join(".")), false);
});

test("a direct exchange goes by the routing key, a fanout to all", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b");
    await using direct = made(bench, "direct");
    await direct.bind("a", { routingKey: "eu" });
    await direct.bind("b", { routingKey: "eu" });
    await direct.bind("b", { routingKey: "us" });
    assert.equal(await names(direct.publish("m", { routingKey: "eu" })), "a,b");
    assert.equal(await names(direct.publish("m", { routingKey: "us" })), "b");
    await using fanout = exchange(bench.engine, "y", { type: "fanout", codec: text() });
    await fanout.bind("a");
    await fanout.bind("b");
    assert.equal(await names(fanout.publish("m")), "a,b");
    assert.deepEqual([await count(bench, "a"), await count(bench, "b")], [2, 3]);
  }));

test("a topic exchange goes by patterns, and a topic that several bindings name gets one copy", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b");
    await using routes = made(bench, "topic");
    await routes.bind("a", { pattern: "order.*.paid" });
    await routes.bind("a", { pattern: "order.#" });
    await routes.bind("a", { pattern: "order.#" });
    await routes.bind("b", { pattern: "#.paid" });
    assert.equal((await routes.bindings()).length, 3);
    const { targets, alternate } = await routes.publish("m", { routingKey: "order.eu.paid" });
    assert.deepEqual([targets.map((target) => target.topic), alternate], [["a", "b"], false]);
    assert.ok(targets.every(({ position }) => position !== undefined));
    assert.equal(await names(routes.publish("m", { routingKey: "order" })), "a");
    assert.equal(await names(routes.publish("m", { routingKey: "paid" })), "b");
    assert.deepEqual([await count(bench, "a"), await count(bench, "b")], [2, 2]);
  }));

test("a headers exchange goes by all or any of the headers", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b");
    await using routes = made(bench, "headers");
    await routes.bind("a", { headers: { kind: "order", region: "eu" } });
    await routes.bind("b", { headers: { kind: "order", region: "eu" }, match: "any" });
    assert.equal(await names(routes.publish("m", { headers: { kind: "order", region: "eu", more: "1" } })), "a,b");
    assert.equal(await names(routes.publish("m", { headers: { kind: "order" } })), "b");
    await assert.rejects(routes.publish("m", { headers: { kind: "other" } }), { code: "not-found" });
    await assert.rejects(routes.publish("m"), { code: "not-found" });
  }));

test("an exchange with a matcher of one's own goes by that", () =>
  onMemory(async (bench) => {
    await declared(bench, "small", "large");
    await using routes = made(bench, {
      name: "size",
      matches: (bound, { headers }) =>
        Number(headers.size) >= Number(bound.from) && Number(headers.size) < Number(bound.to),
    });
    await routes.bind("small", { arguments: { from: "0", to: "10" } });
    await routes.bind("large", { arguments: { from: "10", to: "1000" } });
    assert.equal(await names(routes.publish("m", { headers: { size: "3" } })), "small");
    assert.equal(await names(routes.publish("m", { headers: { size: "30" } })), "large");
  }));

test("the consumers get the message as it was published, with its routing key", () =>
  onMemory(async (bench) => {
    await declared(bench, "a");
    await using routes = made(bench, "topic");
    await routes.bind("a", { pattern: "#" });
    await routes.publish("m", { routingKey: "order.eu", key: "k", id: "1", tag: "t", headers: { h: "1" } });
    const seen: unknown[] = [];
    await using target = topic(bench.engine, "a", { codec: text(), partitions: 2 });
    await target.consume(
      "g",
      (value, { key, id, tag, headers }) => void seen.push([value, key, id, tag, { ...headers }]),
    );
    await bench.until(() => seen.length > 0);
    assert.deepEqual(seen, [["m", "k", "1", "t", { h: "1", "routing-key": "order.eu" }]]);
  }));

test("a message that no binding takes is refused, or goes to the alternate", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "rest");
    await using strict = made(bench, "direct");
    await strict.bind("a", { routingKey: "eu" });
    await assert.rejects(strict.publish("m", { routingKey: "us" }), {
      code: "not-found",
      outcome: "not-applied",
      fields: { exchange: "x", routingKey: "us" },
    });
    await using lenient = made(bench, "direct", { alternate: "rest" });
    const { targets, alternate } = await lenient.publish("m", { routingKey: "us" });
    assert.deepEqual([targets.map((target) => target.topic), alternate], [["rest"], true]);
    assert.deepEqual([await count(bench, "a"), await count(bench, "rest")], [0, 1]);
    await using homeless = made(bench, "direct", { alternate: "nowhere" });
    await assert.rejects(homeless.publish("m", { routingKey: "us" }), { code: "not-found", outcome: "not-applied" });
    assert.ok(!(await bench.engine.messages.topics()).includes("nowhere"));
  }));

test("every process sees what one binds and unbinds", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b");
    await using here = made(bench, "direct");
    await using there = made(bench, "direct");
    await here.bind("a", { routingKey: "k" });
    assert.equal(await names(there.publish("m", { routingKey: "k" })), "a");
    await here.bind("b", { routingKey: "k" });
    assert.equal(await names(here.publish("m", { routingKey: "k" })), "a,b");
    await bench.until(async () => (await there.bindings()).length === 2);
    assert.equal(await names(there.publish("m", { routingKey: "k" })), "a,b");
    await there.unbind("a", { routingKey: "k" });
    await there.unbind("a", { routingKey: "never bound" });
    assert.equal(await names(there.publish("m", { routingKey: "k" })), "b");
    await bench.until(async () => (await here.bindings()).length === 1);
    assert.equal(await names(here.publish("m", { routingKey: "k" })), "b");
  }));

test("binding and unbinding in turn, a process always routes by its own last word", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b");
    bench.faults.watch = async function* (_, apply) {
      for await (const event of apply()) {
        await bench.sleep(7);
        yield event;
      }
    };
    await using routes = made(bench, "direct", { alternate: "b" });
    for (let round = 0; round < 20; round++) {
      await routes.bind("a", { routingKey: "k" });
      assert.equal(await names(routes.publish("m", { routingKey: "k" })), "a");
      await routes.unbind("a", { routingKey: "k" });
      // The watch comes to the binding here, and only later to its end.
      if (round % 3 === 0) await bench.sleep(8);
      assert.equal(await names(routes.publish("m", { routingKey: "k" })), "b");
    }
  }));

test("bindings outlive the process", () =>
  onDisk([
    async (bench) => {
      await declared(bench, "a");
      await made(bench, "topic").bind("a", { pattern: "order.#" });
    },
    async (bench) => {
      await using routes = made(bench, "topic");
      assert.equal(await names(routes.publish("m", { routingKey: "order.eu" })), "a");
    },
  ]));

test("publishing waits for bindings that cannot be read yet, and fails clearly when they are not in time", () =>
  onMemory(async (bench) => {
    await declared(bench, "a");
    const first = made(bench, "direct");
    await first.bind("a", { routingKey: "k" });
    await first.close();
    const gate = Promise.withResolvers<void>();
    bench.faults.watch = async function* (_, apply) {
      await gate.promise;
      yield* apply();
    };
    await using routes = made(bench, "direct");
    await assert.rejects(routes.publish("m", { routingKey: "k", timeoutMs: 100 }), {
      code: "unavailable",
      outcome: "not-applied",
    });
    const leaving = new AbortController();
    const left = assert.rejects(routes.publish("m", { routingKey: "k", signal: leaving.signal }), /went home/);
    leaving.abort(new Error("went home"));
    await left;
    const waiting = routes.publish("m", { routingKey: "k" });
    await bench.sleep(500);
    gate.resolve();
    assert.equal(await names(waiting), "a");
    assert.equal(await count(bench, "a"), 1);
  }));

test("after a watch broke, nothing is routed by what may be out of date", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b");
    const broken = Promise.withResolvers<never>();
    const gate = Promise.withResolvers<void>();
    let watches = 0;
    bench.faults.watch = async function* (_, apply) {
      if (++watches > 1) await gate.promise;
      const events = apply()[Symbol.asyncIterator]();
      for (;;) {
        const event = await Promise.race([events.next(), ...(watches === 1 ? [broken.promise] : [])]);
        if (event.done) return;
        yield event.value;
      }
    };
    await using routes = made(bench, "direct");
    await routes.bind("a", { routingKey: "k" });
    assert.equal(await names(routes.publish("m", { routingKey: "k" })), "a");
    broken.reject(new TenonError("unavailable", "the connection broke"));
    await bench.sleep(1);
    const [binding] = await bench.engine.keyValue.scan("tenon/exchanges/x/bindings/");
    await bench.engine.keyValue.commit([{ type: "delete", key: binding!.key }]);
    await assert.rejects(routes.publish("m", { routingKey: "k", timeoutMs: 100 }), { code: "unavailable" });
    gate.resolve();
    await assert.rejects(routes.publish("m", { routingKey: "k" }), { code: "not-found" });
    assert.equal(await count(bench, "a"), 1);
  }));

test("when a topic fails, the error names who has the message and who has not; publishing again under its id doubles nothing", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b", "c");
    await using routes = made(bench, "fanout");
    for (const name of ["a", "b", "c"]) await routes.bind(name);
    let failing = true;
    bench.faults.append = async (batch, apply) => {
      if (!failing) return apply();
      if (batch.topic === "b") throw new TenonError("overloaded", "the topic is full");
      if (batch.topic === "c") {
        await apply();
        throw new TenonError("corrupt", "the answer was lost", { outcome: "unknown" });
      }
      return apply();
    };
    await assert.rejects(routes.publish("m", { id: "1", timeoutMs: 500 }), (error: TenonError) => {
      assert.deepEqual([error.code, error.outcome], ["overloaded", "unknown"]);
      assert.deepEqual(error.fields, { exchange: "x", stored: "a", unknown: "c", failed: "b" });
      return true;
    });
    failing = false;
    assert.equal(await names(routes.publish("m", { id: "1" })), "a,b,c");
    assert.deepEqual([await count(bench, "a"), await count(bench, "b"), await count(bench, "c")], [1, 1, 1]);
  }));

test("when every topic refuses, nothing was stored, and the error says so", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b");
    await using routes = made(bench, "fanout");
    await routes.bind("a");
    await routes.bind("b");
    bench.faults.append = async () => {
      throw new TenonError("overloaded", "the disk is full");
    };
    await assert.rejects(routes.publish("m"), {
      code: "overloaded",
      outcome: "not-applied",
      fields: { exchange: "x", stored: "", unknown: "", failed: "a,b" },
    });
  }));

test("a topic that was removed is a failure that is named, and goes on when it is made anew", () =>
  onMemory(async (bench) => {
    await declared(bench, "a", "b");
    await using routes = made(bench, "fanout");
    await routes.bind("a");
    await routes.bind("b");
    await routes.publish("m");
    await bench.engine.messages.remove("b");
    await assert.rejects(routes.publish("m"), {
      code: "not-found",
      fields: { exchange: "x", stored: "a", unknown: "", failed: "b" },
    });
    assert.deepEqual(await bench.engine.messages.topics(), ["a"]);
    await bench.engine.messages.declare("b", { partitions: 1, groups: ["g"] });
    for (const key of ["k", "l", "m", "n"]) assert.equal(await names(routes.publish("m", { key })), "a,b");
    assert.equal(await count(bench, "b"), 4);
    // Nobody publishes in between: the engine refuses a partition that there was.
    await bench.engine.messages.remove("a");
    await bench.engine.messages.declare("a", { partitions: 1, groups: ["g"] });
    const outcomes = await Promise.allSettled(["k", "l", "m", "n"].map((key) => routes.publish("m", { key })));
    assert.ok(outcomes.some(({ status }) => status === "rejected"));
    for (const key of ["k", "l", "m", "n"]) assert.equal(await names(routes.publish("m", { key })), "a,b");
  }));

test("an exchange has one type, fixed by its first use", () =>
  onMemory(async (bench) => {
    await declared(bench, "a");
    await using direct = made(bench, "direct");
    await direct.bind("a", { routingKey: "k" });
    await using other = made(bench, "topic");
    await assert.rejects(other.publish("m", { routingKey: "k" }), { code: "conflict" });
    await assert.rejects(other.bind("a", { pattern: "#" }), { code: "conflict" });
    assert.equal(await names(direct.publish("m", { routingKey: "k" })), "a");
  }));

test("what makes no sense is refused", () =>
  onMemory(async (bench) => {
    await declared(bench, "a");
    assert.throws(() => exchange(bench.engine, "a..b", { type: "fanout", codec: text() }), { code: "invalid" });
    assert.throws(() => made(bench, "round" as never), { code: "invalid" });
    assert.throws(() => made(bench, "fanout", { codec: {} as never }), { code: "invalid", message: /codec/ });
    assert.throws(() => made(bench, { name: "a b", matches: () => true }), { code: "invalid" });
    assert.throws(() => made(bench, "fanout", { alternate: "" }), { code: "invalid" });
    await using routes = made(bench, "topic");
    for (const binding of [{}, { routingKey: "k" }, { pattern: 7 }, { pattern: "a", routingKey: "k" }, null]) {
      await assert.rejects(routes.bind("a", binding as never), { code: "invalid" }, JSON.stringify(binding));
    }
    await assert.rejects(routes.bind("missing", { pattern: "#" }), { code: "not-found" });
    await routes.bind("a", { pattern: "#" });
    await using byHeaders = exchange(bench.engine, "y", { type: "headers", codec: text() });
    await assert.rejects(byHeaders.bind("a", { headers: { large: "x".repeat(100_000) } }), { code: "invalid" });
    await assert.rejects(routes.publish("m", { routingKey: "\ud800" }), { code: "invalid" });
    await assert.rejects(routes.publish("m", { headers: { "routing-key": "k" } }), { code: "invalid" });
    await assert.rejects(routes.publish("m", { timeoutMs: 0 }), { code: "invalid" });
    assert.equal(await count(bench, "a"), 0);
    const engine = {
      ...bench.engine,
      keyValue: { ...bench.engine.keyValue, capabilities: { ...bench.engine.keyValue.capabilities, watch: false } },
    };
    assert.throws(() => exchange(engine, "x", { type: "fanout", codec: text() }), { code: "unsupported" });
  }));

test("after close everything is refused, and closing twice is once", () =>
  onMemory(async (bench) => {
    await declared(bench, "a");
    const routes = made(bench, "fanout");
    await routes.bind("a");
    const accepted = routes.publish("m");
    await accepted;
    await Promise.all([routes.close(), routes.close()]);
    await assert.rejects(routes.publish("m"), { code: "closed" });
    await assert.rejects(routes.bind("a"), { code: "closed" });
    const unused = made(bench, "fanout");
    await unused.close();
    await assert.rejects(unused.publish("m"), { code: "closed" });
    assert.equal(await count(bench, "a"), 1);
  }));
