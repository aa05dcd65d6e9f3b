import { deepEqual, equal } from "node:assert/strict";
import type { KeyValueEngine } from "../../contracts/index.ts";
import { type Exchange, type ExchangeEngine, type ExchangeOptions, exchange, text } from "../../messaging/index.ts";
import type { MessageCase, MessageSubject, MessagesEngine } from "../conformance-case.ts";
import { eventually, refused } from "../expectations.ts";
import { needsCrash, needsIds } from "../messages/fixtures.ts";
import { lag } from "./fixtures.ts";

function needsBindings({ engine }: MessageSubject): true | string {
  const { keyValue } = engine as MessagesEngine & { readonly keyValue?: KeyValueEngine };
  return keyValue?.capabilities.watch === true || "the engine carries no key-values that can be watched";
}

function events(engine: MessagesEngine, options: Partial<ExchangeOptions<string>> = {}): Exchange<string> {
  return exchange(engine as MessagesEngine & ExchangeEngine, "events", { type: "topic", codec: text(), ...options });
}

async function declared(engine: MessagesEngine, ...names: string[]): Promise<void> {
  for (const name of names) await engine.messages.declare(name, { partitions: 2, groups: ["group"] });
}

const topicsOf = ({ targets }: { readonly targets: readonly { readonly topic: string }[] }) =>
  targets.map((target) => target.topic);

export const exchangeCases: readonly MessageCase[] = [
  {
    name: "an exchange stores one copy in each topic that has a binding that takes the message",
    rule: "Exchange-style routing: a topic bound twice gets one copy.",
    needs: needsBindings,
    async run({ engine }) {
      await declared(engine, "a", "b");
      const routes = events(engine);
      await routes.bind("a", { pattern: "order.*.paid" });
      await routes.bind("a", { pattern: "order.#" });
      await routes.bind("b", { pattern: "#.paid" });
      deepEqual(topicsOf(await routes.publish("m", { routingKey: "order.eu.paid" })), ["a", "b"]);
      deepEqual(topicsOf(await routes.publish("m", { routingKey: "order" })), ["a"]);
      deepEqual([await lag(engine, "a"), await lag(engine, "b")], [2, 1]);
      await routes.close();
    },
  },
  {
    name: "what no binding takes is refused, or goes to the alternate",
    rule: "An unroutable message is refused or goes to an alternate, never silently dropped.",
    needs: needsBindings,
    async run({ engine }) {
      await declared(engine, "a", "rest");
      const strict = events(engine);
      await strict.bind("a", { pattern: "order.#" });
      const refusal = await refused("not-found", "a message without a binding", () =>
        strict.publish("m", { routingKey: "user" }),
      );
      equal(refusal.outcome, "not-applied");
      const lenient = events(engine, { alternate: "rest" });
      const { targets, alternate } = await lenient.publish("m", { routingKey: "user" });
      deepEqual([topicsOf({ targets }), alternate], [["rest"], true]);
      deepEqual([await lag(engine, "a"), await lag(engine, "rest")], [0, 1]);
      await strict.close();
      await lenient.close();
    },
  },
  {
    name: "every process sees what another one binds and unbinds",
    rule: "Bindings are kept in the engine's key-values, and every process watches them.",
    needs: needsBindings,
    async run({ engine }) {
      await declared(engine, "a", "b");
      const here = events(engine, { alternate: "b" });
      const there = events(engine, { alternate: "b" });
      deepEqual(topicsOf(await there.publish("m", { routingKey: "k" })), ["b"]);
      await here.bind("a", { pattern: "k" });
      deepEqual(topicsOf(await here.publish("m", { routingKey: "k" })), ["a"]);
      const sees = async (count: number) => (await there.bindings()).length === count;
      await eventually(engine.world, "the other one sees the binding", () => sees(1));
      deepEqual(topicsOf(await there.publish("m", { routingKey: "k" })), ["a"]);
      await here.unbind("a", { pattern: "k" });
      await eventually(engine.world, "the other one sees that it is gone", () => sees(0));
      deepEqual(topicsOf(await there.publish("m", { routingKey: "k" })), ["b"]);
      await here.close();
      await there.close();
    },
  },
  {
    name: "bindings survive the crash of the process",
    rule: "Bindings are durable.",
    needs: (subject) => {
      const bindings = needsBindings(subject);
      return bindings === true ? needsCrash(subject) : bindings;
    },
    async run(subject) {
      await declared(subject.engine, "a");
      await events(subject.engine).bind("a", { pattern: "k" });
      await subject.crash!();
      const routes = events(subject.engine);
      deepEqual(topicsOf(await routes.publish("m", { routingKey: "k" })), ["a"]);
      await routes.close();
    },
  },
  {
    name: "a message that is published again under its id is stored once in each topic",
    rule: "A repeated publish with the same message id does not duplicate.",
    needs: (subject) => {
      const bindings = needsBindings(subject);
      return bindings === true ? needsIds(subject) : bindings;
    },
    async run({ engine }) {
      await declared(engine, "a", "b");
      const routes = events(engine, { type: "fanout" });
      await routes.bind("a");
      await routes.publish("m", { id: "1" });
      await routes.bind("b");
      await routes.publish("m", { id: "1" });
      deepEqual([await lag(engine, "a"), await lag(engine, "b")], [1, 1]);
      await routes.close();
    },
  },
];
