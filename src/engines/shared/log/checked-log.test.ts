import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../../../contracts/errors.ts";
import type { LogEngine } from "../../../contracts/log.ts";
import { CheckedLog } from "./checked-log.ts";

const capabilities: LogEngine["capabilities"] = {
  survives: "process",
  transactions: false,
  sequences: true,
  deduplicate: true,
  instants: "exact",
  retentionLatenessMs: 1_000,
  partitionsMax: 8,
  recordBytesMax: 100,
  keyBytesMax: 10,
  batchBytesMax: 1_000,
  commitBytesMax: 1_000,
};

/** Whatever comes through to the work fails as no check does. */
function checked(work: Partial<LogEngine> = {}): CheckedLog {
  const closed = (what: string) => new TenonError("closed", `the engine was closed; ${what} was not carried out`);
  return new CheckedLog({ capabilities, ...work } as LogEngine, closed);
}

const record = { body: Buffer.from("body") };
const writer = { name: "w", epoch: 1n, logs: ["clicks"] };
const output = { log: "clicks", partition: 0, records: [record] };

const right: Readonly<Record<string, (log: LogEngine) => Promise<unknown>>> = {
  declare: (log) => log.declare("clicks", { partitions: 1 }),
  logs: (log) => log.logs(),
  remove: (log) => log.remove("clicks"),
  describe: (log) => log.describe("clicks"),
  append: (log) => log.append(output),
  read: (log) => log.read({ log: "clicks", partition: 0, from: 0n, limit: 1 }),
  locate: (log) => log.locate("clicks", 0, 0),
  positions: (log) => log.positions("r", "clicks"),
  forget: (log) => log.forget("r", "clicks"),
  openWriter: (log) => log.openWriter("w", ["clicks"]),
  commit: (log) => log.commit(writer, { outputs: [output] }),
};

const wrong: Readonly<Record<string, readonly ((log: LogEngine) => Promise<unknown>)[]>> = {
  declare: [(log) => log.declare("clicks", { partitions: 9 }), (log) => log.declare("", { partitions: 1 })],
  remove: [(log) => log.remove("")],
  describe: [(log) => log.describe("\ud800")],
  append: [(log) => log.append({ ...output, records: [] }), (log) => log.append({ ...output, partition: -1 })],
  read: [(log) => log.read({ log: "clicks", partition: 0, from: 0n, limit: 0 })],
  locate: [
    (log) => log.locate("", 0, 0),
    (log) => log.locate("clicks", -1, 0),
    (log) => log.locate("clicks", 0, Number.NaN),
  ],
  positions: [(log) => log.positions("", "clicks"), (log) => log.positions("r", "")],
  forget: [(log) => log.forget("", "clicks"), (log) => log.forget("r", "")],
  openWriter: [(log) => log.openWriter("", []), (log) => log.openWriter("w", [""])],
  commit: [(log) => log.commit(writer, { outputs: [{ ...output, log: "orders" }] })],
};

for (const [name, cases] of Object.entries(wrong)) {
  test(`${name} refuses what is wrong by itself, before anything is asked of the server`, async () => {
    for (const ask of cases) await assert.rejects(ask(checked()), { name: "TenonError", code: "invalid" });
  });
}

test("what is right comes through, with its answer, and nothing does once it was closed", async () => {
  for (const [name, ask] of Object.entries(right)) {
    const log = checked({ [name]: async () => name });
    const answers = ["declare", "remove", "forget"].includes(name) ? undefined : name;
    assert.equal(await ask(log), answers);
    log.close();
    await assert.rejects(ask(log), { code: "closed", message: /was not carried out/ });
  }
});

test("a writer has one commit under way at a time, and may go on when that has failed", async () => {
  const underWay = Promise.withResolvers<never>();
  const answers = [underWay.promise, Promise.resolve([])];
  const log = checked({ commit: () => answers.shift()! });
  const first = right.commit!(log);
  await assert.rejects(right.commit!(log), { code: "conflict" });
  underWay.reject(new Error("lost"));
  await assert.rejects(first, { message: "lost" });
  await right.commit!(log);
});
