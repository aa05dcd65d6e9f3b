import { deepEqual, equal, ok } from "node:assert/strict";
import { type ReplierOptions, replier, requester, TenonError, text } from "../../messaging/index.ts";
import type { MessageCase, MessagesEngine } from "../conformance-case.ts";
import { eventually, Gate, refused } from "../expectations.ts";

const codecs = { request: text(), reply: text() };

const asking = (engine: MessagesEngine) => requester(engine, "prices", { ...codecs, partitions: 2 });

function answering(
  engine: MessagesEngine,
  handler: (value: string) => string | Promise<string>,
  options: Partial<ReplierOptions<string, string>> = {},
) {
  return replier(engine, "prices", handler, { ...codecs, partitions: 2, ...options });
}

const replyTopics = async (engine: MessagesEngine) =>
  (await engine.messages.topics()).filter((name) => name.includes("..replies.."));

export const requestCases: readonly MessageCase[] = [
  {
    name: "each request gets its own reply, whichever replier answers it, and nothing stays behind",
    rule: "Replies come back to the process that asked, in a topic of its own that ends with it.",
    async run({ engine }) {
      const servers = [
        await answering(engine, (value) => `re: ${value}`),
        await answering(engine, (value) => `re: ${value}`),
      ];
      const clients = [asking(engine), asking(engine)];
      const replies = await Promise.all(
        Array.from({ length: 40 }, (_, number) => clients[number % 2]!.request(`m${number}`)),
      );
      deepEqual(
        replies,
        Array.from({ length: 40 }, (_, number) => `re: m${number}`),
      );
      for (const client of clients) {
        deepEqual(client.counts, { waiting: 0, replied: 20, late: 0 });
        await client.close();
      }
      for (const server of servers) await server.close();
      deepEqual(await replyTopics(engine), []);
    },
  },
  {
    name: "a request waits for its replier, and what the handler throws is its reply",
    rule: "Error replies are carried as errors, at once and without a retry.",
    async run({ engine }) {
      const client = asking(engine);
      const reply = client.request("before");
      await eventually(engine.world, "the request is stored", async () => {
        const names = await engine.messages.topics();
        if (!names.includes("prices")) return false;
        return (await engine.messages.describe("prices")).groups.some(({ lanes }) => lanes.some(({ lag }) => lag > 0));
      });
      const server = await answering(engine, (value) => {
        if (value === "sold out") throw new TenonError("conflict", "nothing is left");
        return value;
      });
      equal(await reply, "before");
      const error = await refused("conflict", "an error reply", () => client.request("sold out"));
      ok(error.fields.replied === true && error.message.includes("nothing is left"));
      await client.close();
      await server.close();
    },
  },
  {
    name: "a late reply is dropped and counted, and a request whose time is over is not handled",
    rule: "Late answers are dropped and counted; expired requests are not handled.",
    takesMs: 2_000,
    async run({ engine }) {
      const gate = new Gate();
      const seen: string[] = [];
      const server = await answering(engine, async (value) => {
        seen.push(value);
        if (value === "slow") await gate.opened;
        return value;
      });
      const client = asking(engine);
      // The first one makes topics, groups and an inbox for replies, which may take longer than the slow one has.
      equal(await client.request("first"), "first");
      await refused("timeout", "a slow reply", () => client.request("slow", { timeoutMs: 500 }));
      equal(client.counts.waiting, 0);
      gate.open();
      await eventually(engine.world, "the late reply is counted", () => client.counts.late === 1);
      await server.close();
      await refused("timeout", "no replier", () => client.request("nobody", { timeoutMs: 1_500 }));
      const later = await answering(engine, (value) => {
        seen.push(value);
        return value;
      });
      await eventually(engine.world, "the expired request is settled", () => later.counts.expired === 1);
      equal(await client.request("next"), "next");
      deepEqual(seen, ["first", "slow", "next"]);
      await client.close();
      await later.close();
    },
  },
];
