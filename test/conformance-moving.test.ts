/**
 * A topic that may be moved keeps the contract, on either engine: before a move, and after it.
 */
import { after, describe, test } from "node:test";
import { type ConformanceHost, type MessagesEngine, messageCases, runCase } from "tenon/conformance";
import type { MessageEngine, TopicDeclaration } from "tenon/contracts";
import { memory } from "tenon/embedded";
import { moving } from "tenon/moving";

const concurrency = 6;
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

type Declare = (topic: string, declaration: TopicDeclaration) => Promise<void>;

/** Declares a topic anew where the case wants it to be, and otherwise as everybody does. */
function placing(messages: MessageEngine, place: Declare): MessageEngine {
  return new Proxy(messages, {
    get(target, name) {
      if (name !== "declare") {
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (topic: string, declaration: TopicDeclaration) => {
        if (typeof topic === "string" && !(await target.topics()).includes(topic)) await place(topic, declaration);
        await target.declare(topic, declaration);
      };
    },
  });
}

function host(place: (from: MessageEngine, to: MessageEngine) => Declare): ConformanceHost<MessagesEngine> {
  return {
    async start() {
      const [from, to] = [await memory(), await memory()];
      const both = moving(from, to, { pollMs: 10 });
      const messages = placing(both.messages, place(from.messages, to.messages));
      const close = async (): Promise<void> => {
        await Promise.all([from.close(), to.close()]);
      };
      const engine = { name: "moving", ...both, messages, close, [Symbol.asyncDispose]: close };
      return { engine, stop: close };
    },
  };
}

/** Not moved yet. */
const before = host((from) => (topic, declaration) => from.declare(topic, declaration));

/** Moved, with fences that begin above a former engine's. */
const afterwards = host((from, to) => async (topic, declaration) => {
  await to.declare(topic, declaration);
  await from.declare(topic, { partitions: declaration.partitions, sealed: "tenon: moved, fences above 17" });
});

for (const [name, place] of [
  ["a topic that is not moved yet", before],
  ["a topic that was moved", afterwards],
] as const) {
  describe(name, { concurrency }, () => {
    for (const each of messageCases) {
      test(each.name, async (context) => {
        const outcome = await runCase(each, place);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}
