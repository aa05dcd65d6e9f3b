import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type EmbeddedEngine, embedded } from "../../src/engines/embedded/index.ts";
import { contentOf, type Fences, messageOf, noteFence } from "./content.ts";
import { type Call, History } from "./history.ts";
import { below, type PublishMark, type Report, type WorkOrder } from "./reports.ts";

const rounds = process.env.TENON_SLOW === "1" ? 100 : 5;
const seed = Number(process.env.TENON_SEED ?? Math.floor(Math.random() * 2 ** 31));
const worker = fileURLToPath(new URL("worker.ts", import.meta.url));
const segmentBytes = [4_096, 16_384, 262_144, 67_108_864];

/** An append that can be repeated, and what it was answered, if it was. */
interface Repeatable {
  readonly call: Call;
  readonly mark: PublishMark;
  positions: readonly bigint[] | undefined;
}

class Ledger {
  readonly history = new History();
  readonly fences: Fences = new Map();
  /** The last ones of the round, by what makes them repeatable. */
  readonly repeatable = new Map<string, Repeatable>();
  answered = 0;
  readonly #calls = new Map<number, { readonly call: Call; readonly repeatable: Repeatable | undefined }>();

  startRound(): void {
    this.#calls.clear();
    this.repeatable.clear();
  }

  take(report: Report): void {
    if (report.type === "calls") this.#calls.set(report.call, this.#begun(report));
    else if (report.type === "granted") noteFence(this.fences, { ...report, fence: BigInt(report.fence) });
    else if (report.type === "refused") assert.fail(`call ${report.call} was refused: ${report.message}`);
    else if (report.type === "answered") {
      const { call, repeatable } = this.#calls.get(report.call)!;
      call.status = "acknowledged";
      call.committed = report.committed;
      if (repeatable !== undefined) repeatable.positions = report.positions?.map(BigInt);
      this.answered += 1;
    }
  }

  #begun({ operation, mark }: Report & { type: "calls" }) {
    const call = this.history.begin(operation);
    if (operation.type !== "append" || mark === undefined) return { call, repeatable: undefined };
    const name = mark.producer?.id ?? mark.ids?.[0];
    if (name === undefined) return { call, repeatable: undefined };
    const repeatable: Repeatable = { call, mark, positions: undefined };
    // Only the newest batch of a producer is repeated, as producers do; ids may come again in any order.
    this.repeatable.set(name, repeatable);
    return { call, repeatable };
  }
}

/** Lets the worker work until it has said so many things, then kills it. Everything it said counts. */
async function workAndDie(order: WorkOrder, reportsMax: number, ledger: Ledger): Promise<void> {
  const child = spawn(process.execPath, ["--conditions=source", worker, JSON.stringify(order)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const complaints = text(child.stderr);
  const ended = new Promise<string>((resolve) => child.on("close", (code, signal) => resolve(signal ?? String(code))));
  let reports = 0;
  let rest = "";
  child.stdout.setEncoding("utf8");
  for await (const chunk of child.stdout) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) ledger.take(JSON.parse(line));
    reports += lines.length;
    if (reports >= reportsMax) child.kill("SIGKILL");
  }
  assert.equal(await ended, "SIGKILL", await complaints);
}

/** Publishes once more what may or may not be there: it must be there once, in its place, and answered as before. */
async function repeat(engine: EmbeddedEngine, ledger: Ledger): Promise<void> {
  for (const { call, mark, positions } of [...ledger.repeatable.values()].slice(-200)) {
    if (call.operation.type !== "append") continue;
    const { append } = call.operation;
    const messages = append.names.map((name, index) => {
      const id = mark.ids?.[index];
      return messageOf(name, id === undefined ? {} : { id });
    });
    if (!call.kept)
      await ledger.history.follow(call.operation, () =>
        engine.messages.append({ ...append, messages, producer: mark.producer }),
      );
    else {
      const again = await engine.messages.append({ ...append, messages, producer: mark.producer });
      if (positions !== undefined) assert.deepEqual(again, positions, `${append.names[0]} was repeated`);
    }
  }
}

test(`${rounds} processes are killed at random instants, and nothing that was acknowledged is missing`, async (context) => {
  context.diagnostic(`TENON_SEED=${seed}`);
  const random = below(seed);
  const directory = await mkdtemp(join(tmpdir(), "tenon-kill-"));
  const ledger = new Ledger();
  for (let round = 0; round < rounds; round++) {
    ledger.startRound();
    const order = {
      directory,
      round,
      seed: random(2 ** 31),
      segmentBytes: segmentBytes[random(4)]!,
      ids: round > rounds / 2,
    };
    const reportsMax = 1 + random(round % 5 === 4 ? 30 : 3_000) + (round % 5 === 4 ? 0 : 200);
    try {
      await workAndDie(order, reportsMax, ledger);
      const engine = await embedded({
        directory,
        segmentBytes: order.segmentBytes,
        retentionMs: 0,
        reserveBytes: 100_000,
      });
      const { history, fences } = ledger;
      history.reconcile(await contentOf(engine, fences, history.wasDelayed));
      await repeat(engine, ledger);
      history.reconcile(await contentOf(engine, fences, history.wasDelayed));
      await engine.close();
    } catch (error) {
      throw new Error(`TENON_SEED=${seed}, round ${round}, directory ${directory}`, { cause: error });
    }
  }
  context.diagnostic(`${ledger.answered} calls were acknowledged`);
  assert.ok(ledger.answered > 10 * rounds, `only ${ledger.answered} calls were acknowledged`);
  await rm(directory, { recursive: true });
});
