import { deleteTopics, startKafka, testPrefix } from "./kafka-host.ts";

const server = { host: "127.0.0.1", port: 9092 };
const prefix = testPrefix();
const t = async (name: string, fn: () => Promise<unknown>) => {
  const s = performance.now();
  const r = await fn();
  console.log(name, (performance.now() - s).toFixed(1));
  return r as any;
};
const p = await t("open", () => startKafka(server, prefix));
const m = p.engine.messages;
await t("declare", () => m.declare("a", { partitions: 1, groups: ["g"] }));
await t("declare again", () => m.declare("a", { partitions: 1, groups: ["g"] }));
await t("declare b", () => m.declare("b", { partitions: 4 }));
const body = Buffer.from("x");
for (let i = 0; i < 3; i++) await t("append", () => m.append({ topic: "a", partition: 0, messages: [{ body }] }));
await t("append marked first", () =>
  m.append({ topic: "a", partition: 0, messages: [{ body }], producer: { id: "p", epoch: 0, sequence: 0 } }),
);
await t("append marked", () =>
  m.append({ topic: "a", partition: 0, messages: [{ body }], producer: { id: "p", epoch: 0, sequence: 1 } }),
);
const mem = await t("join", () => m.join("a", "g", { sessionMs: 10000, revokeMs: 1000, windowMax: 1000 }));
const lane = await t("lane", () => mem.nextLane());
const got = await t("fetch", () => lane.fetch(100));
for (const x of got.slice(0, 3)) await t("commit", () => lane.commit({ settled: [x.position] }));
for (let i = 0; i < 3; i++) {
  const f = lane.fetch(1);
  const s = performance.now();
  await t("append", () => m.append({ topic: "a", partition: 0, messages: [{ body }] }));
  await f;
  console.log("append to fetched", (performance.now() - s).toFixed(1));
}
await t("describe", () => m.describe("a"));
await t("join ephemeral", () =>
  m.join("b", "e", { sessionMs: 10000, revokeMs: 1000, windowMax: 1000, ephemeral: true }),
);
await t("close", () => p.engine.close());
await deleteTopics(server, prefix);
process.exit(0);
