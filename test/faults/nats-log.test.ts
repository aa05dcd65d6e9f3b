/** Logs on NATS where a connection breaks in the midst of a change, a writer is cut off and comes late, several fight for one name, or the server is killed. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type LogEngine, type LogOutput, type LogWriter, TenonError } from "tenon/contracts";
import { checkAppended } from "tenon/simulation";
import { log, text } from "tenon/streams";
import { natsServerMissing } from "../nats-server.ts";
import { keepAlive } from "../server-suites.ts";
import { natsBehindProxy } from "./nats-site.ts";
import type { ProxiedConnection } from "./tcp-proxy.ts";

keepAlive();

const recordsOf = (texts: readonly string[]) => texts.map((value) => ({ body: Buffer.from(value.padEnd(200, ".")) }));

function output(texts: readonly string[], more: Partial<LogOutput> = {}): LogOutput {
  return { log: "clicks", partition: 0, records: recordsOf(texts), ...more };
}

const numbered = (count: number, prefix: string) => Array.from({ length: count }, (_, n) => `${prefix}${n}`);

async function textsOf(from: LogEngine, partition = 0): Promise<readonly string[]> {
  const texts: string[] = [];
  let position = (await from.describe("clicks")).partitions[partition]!.first;
  for (;;) {
    const page = await from.read({ log: "clicks", partition, from: position, limit: 1_000 });
    if (page.records.length === 0) return texts;
    texts.push(...page.records.map(({ body }) => Buffer.from(body).toString().replace(/\.+$/, "")));
    position = page.next;
  }
}

/** In the midst of what is sent, where nothing of it has come to the server as a whole; and where it was carried out, and nobody is told. */
const cuts: readonly ((connection: ProxiedConnection) => void)[] = [
  (connection) => connection.resetAfter("request", 5),
  (connection) => connection.resetAfter("request", 30_000),
  (connection) => connection.loseReply(),
];

describe("a log on NATS", { skip: natsServerMissing, concurrency: 3 }, () => {
  test("an append that is cut off is there as a whole or not at all, and is stored once when it is repeated", async (t) => {
    const { engine, auditor, proxy } = await natsBehindProxy(t);
    await engine.log.declare("clicks", { partitions: 1 });
    const expected: string[] = [];
    for (const [index, cut] of cuts.entries()) {
      const texts = numbered(300, `${index}-`);
      const producer = { id: "p", epoch: 0, sequence: expected.length };
      const batch = { log: "clicks", partition: 0, records: recordsOf(texts), producer };
      cut(proxy.connections[0]!);
      await assert.rejects(engine.log.append(batch), { code: "unavailable" });
      const stored = await textsOf(auditor.log);
      assert.ok(stored.length === expected.length || stored.length === expected.length + texts.length);
      await engine.log.append(batch);
      expected.push(...texts);
      assert.deepEqual(await textsOf(auditor.log), expected);
    }
  });

  test("a commit that is cut off is decided by the next opening of its writer, and what is derived again is stored once", async (t) => {
    const { engine, auditor, proxy } = await natsBehindProxy(t);
    await engine.log.declare("clicks", { partitions: 1 });
    const expected: string[] = [];
    for (const [index, cut] of cuts.entries()) {
      const texts = numbered(300, `${index}-`);
      const sequences = texts.map((_, n) => BigInt(expected.length + n));
      const change = { outputs: [output(texts, { sequences })] };
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      await engine.log.commit(writer, { outputs: [output([`${index}`])] });
      expected.push(`${index}`);
      cut(proxy.connections[0]!);
      await assert.rejects(engine.log.commit(writer, change), { code: "unavailable" });
      const successor = await auditor.log.openWriter("writer", ["clicks"]);
      const decided = await textsOf(auditor.log);
      assert.ok(decided.length === expected.length || decided.length === expected.length + texts.length);
      await assert.rejects(engine.log.commit(writer, change), { code: "lost" });
      assert.deepEqual(await textsOf(auditor.log), decided);
      await auditor.log.commit(successor, change);
      expected.push(...texts);
      assert.deepEqual(await textsOf(auditor.log), expected);
    }
  });

  test("a position whose commit is cut off stands or does not when its writer is opened anew, and stays so", async (t) => {
    const { engine, auditor, proxy } = await natsBehindProxy(t);
    await engine.log.declare("clicks", { partitions: 1 });
    await engine.log.append({ log: "clicks", partition: 0, records: recordsOf(numbered(3, "")) });
    const at = (position: bigint) => ({ positions: [{ reader: "reader", log: "clicks", partition: 0, position }] });
    const standsAt = async () => (await auditor.log.positions("reader", "clicks")).get(0);
    for (const cut of cuts) {
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      await engine.log.commit(writer, at(1n));
      cut(proxy.connections[0]!);
      await assert.rejects(
        async () => {
          // Less is sent than for records.
          for (let n = 0; n < 500; n++) await engine.log.commit(writer, at(2n));
        },
        { code: "unavailable" },
      );
      await auditor.log.openWriter("writer", ["clicks"]);
      const decided = await standsAt();
      assert.ok(decided === 1n || decided === 2n, `${decided}`);
      await assert.rejects(engine.log.commit(writer, at(3n)), { code: "lost" });
      assert.equal(await standsAt(), decided);
    }
  });

  const late: readonly (readonly [string, (log: LogEngine, writer: LogWriter) => Promise<unknown>])[] = [
    ["an output", (log, writer) => log.commit(writer, { outputs: [output(["late"])] })],
    [
      "its first output in a partition",
      (log, writer) => log.commit(writer, { outputs: [output(["late"], { partition: 1 })] }),
    ],
    [
      "a position",
      (log, writer) =>
        log.commit(writer, { positions: [{ reader: "reader", log: "clicks", partition: 0, position: 1n }] }),
    ],
    [
      "the first position of a reader",
      (log, writer) =>
        log.commit(writer, { positions: [{ reader: "another", log: "clicks", partition: 0, position: 1n }] }),
    ],
  ];
  for (const [what, commit] of late) {
    test(`${what} of a writer that was cut off comes too late when its successor is there`, async (t) => {
      const { engine, auditor, connection } = await natsBehindProxy(t);
      await engine.log.declare("clicks", { partitions: 2 });
      const zombie = await engine.log.openWriter("writer", ["clicks"]);
      await engine.log.commit(zombie, { outputs: [output(["early"])] });
      await engine.log.commit(zombie, { positions: [{ reader: "reader", log: "clicks", partition: 0, position: 0n }] });
      connection.stall("request");
      // Under way when it is cut off; it comes to the server when the name is another's.
      const committing = commit(engine.log, zombie);
      committing.catch(() => undefined);
      const successor = await auditor.log.openWriter("writer", ["clicks"]);
      connection.resume("request");
      await assert.rejects(committing, { code: "lost", outcome: "not-applied" });
      assert.deepEqual(await textsOf(auditor.log, 0), ["early"]);
      assert.deepEqual(await textsOf(auditor.log, 1), []);
      assert.deepEqual(await auditor.log.positions("reader", "clicks"), new Map([[0, 0n]]));
      assert.deepEqual(await auditor.log.positions("another", "clicks"), new Map());
      await auditor.log.commit(successor, { outputs: [output(["after"])] });
      assert.deepEqual(await textsOf(auditor.log, 0), ["early", "after"]);
    });
  }

  test("of processes that fight for one writer none stores anything behind its successor", async (t) => {
    const { engine, auditor, proxy } = await natsBehindProxy(t);
    await auditor.log.declare("clicks", { partitions: 2 });
    const stored = new Set<string>();
    const refused = new Set<string>();
    let takeovers = 0;
    const fight = async ({ log }: { log: LogEngine }, own: string) => {
      for (let round = 0; round < 20; round++) {
        try {
          const writer = await log.openWriter("writer", ["clicks"]);
          for (let n = 0; n < 6; n++) {
            const value = `${writer.epoch}/${own}/${n}`;
            try {
              await log.commit(writer, { outputs: [output([value], { partition: n % 2 })] });
              stored.add(value);
            } catch (error) {
              if (error instanceof TenonError && error.outcome === "not-applied") refused.add(value);
              throw error;
            }
          }
        } catch (error) {
          assert.ok(error instanceof TenonError && ["lost", "unavailable"].includes(error.code), String(error));
          takeovers += error.code === "lost" ? 1 : 0;
        }
        if (own === "a" && round % 5 === 4) proxy.cutAll();
      }
    };
    await Promise.all([fight(engine, "a"), fight(auditor, "b"), fight(auditor, "c")]);
    const found: string[] = [];
    for (const partition of [0, 1]) {
      const texts = await textsOf(auditor.log, partition);
      const epochs = texts.map((value) => Number(value.split("/")[0]));
      assert.deepEqual(
        epochs,
        [...epochs].sort((one, other) => one - other),
      );
      found.push(...texts);
    }
    assert.equal(new Set(found).size, found.length);
    assert.deepEqual(
      [...stored].filter((value) => !found.includes(value)),
      [],
    );
    assert.deepEqual(
      found.filter((value) => refused.has(value)),
      [],
    );
    assert.ok(takeovers > 10 && stored.size > 10, `${takeovers} were fenced, ${stored.size} stored`);
  });

  test("what was acknowledged is there once and in order, although the server is killed and started again", async (t) => {
    const { engine, auditor, server } = await natsBehindProxy(t);
    const clicks = log(engine, "clicks", { codec: text(), partitions: 2, appendTimeoutMs: 60_000 });
    await clicks.declare();
    let acknowledged = 0;
    let wake: (() => void) | undefined;
    const until = async (count: number) => {
      while (acknowledged < count) await new Promise<void>((resolve) => (wake = resolve));
    };
    const appending = (async () => {
      for (let from = 0; from < 300; from += 10) {
        const values = numbered(10, "").map((_, n) => `${from + n}`);
        await Promise.all(values.map((value, n) => clicks.append(value, { partition: n % 2 })));
        acknowledged = from + 10;
        wake?.();
      }
    })();
    for (const count of [60, 150, 240]) {
      await until(count);
      await server.stop();
      await server.start();
    }
    await appending;
    const found = [];
    for (const partition of [0, 1]) {
      for (const [position, value] of (await textsOf(auditor.log, partition)).entries())
        found.push({ partition, position: BigInt(position), value });
    }
    assert.equal(found.length, 300);
    checkAppended(
      numbered(300, "").map((value) => ({ value, outcome: "stored" as const })),
      found,
    );
  });
});
