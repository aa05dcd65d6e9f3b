import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { audit, type BuyersView } from "./audit.ts";
import { readDurableState } from "./durable-state.ts";
import { openEngine } from "./engine-store.ts";
import type { Flow } from "./model.ts";
import { openOrders } from "./orders-database.ts";
import { recordKeys } from "./records.ts";
import { reportText, summarize } from "./report.ts";
import { run } from "./run.ts";
import { embeddedStores } from "./stores.ts";

const scratch = mkdtempSync(join(tmpdir(), "flash-sale-test-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

const quiet = { write: () => true };

function sell(name: string, options: { flow: Flow; crash: boolean }) {
  return run({
    requests: 500,
    stock: 60,
    buyers: 100,
    seed: 5,
    ...options,
    stores: embeddedStores(join(scratch, name)),
    processes: false,
    progress: quiet,
    signal: AbortSignal.timeout(120_000),
  });
}

for (const flow of ["queue", "bucket"] as const) {
  for (const crash of [false, true]) {
    test(`a sale with the ${flow} flow ${crash ? "whose process is killed in mid-sale " : ""}passes its audit`, async () => {
      const outcome = await sell(`${flow}-${crash}`, { flow, crash });
      assert.ok(outcome.audit.holds, reportText(outcome));
      assert.deepEqual(
        outcome.crashes.map(({ name }) => name),
        crash ? ["the sale"] : [],
      );
      const summary = summarize(outcome);
      assert.equal(summary.requests, 500);
      assert.equal(summary.requests, summary.accepted + summary.soldOut + summary.limited + summary.failed);
      assert.equal(summary.orders, summary.accepted);
      assert.equal(summary.sold + summary.cancelled, summary.orders);
      assert.ok(summary.accepted >= 30, `only ${summary.accepted} of 60 units were taken`);
      assert.deepEqual([summary.oversold, summary.lost, summary.duplicated], [0, 0, 0]);
    });
  }
}

test("the audit reads the disk: an order removed or stock added there is found", async () => {
  const stores = embeddedStores(join(scratch, "queue-true"));
  const sound = await readDurableState(stores);
  const buyers: BuyersView = {
    stock: 60,
    accepted: new Set(sound.orders.map((order) => order.orderId)),
    unanswered: new Set(),
  };
  assert.ok(audit(sound, buyers).holds);

  {
    await using orders = await openOrders(stores.orders);
    await orders.sql.transaction((transaction) =>
      transaction.execute("DELETE FROM orders WHERE id = (SELECT min(id) FROM orders WHERE state = 'paid')"),
    );
  }
  assert.ok(audit(await readDurableState(stores), buyers).lost > 0);

  {
    await using engine = await openEngine(stores.engine);
    await engine.keyValue.commit([{ type: "add", key: recordKeys.stock("item-00"), by: 1 }]);
  }
  assert.ok(audit(await readDurableState(stores), buyers).duplicated > 0);
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function command(
  args: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  whenStderr?: () => "SIGINT" | undefined,
) {
  const main = fileURLToPath(new URL("./main.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions=source", main, ...args], {
    env: { ...process.env, ...environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    stderr += chunk;
    const signal = whenStderr?.();
    if (signal !== undefined) child.kill(signal);
  });
  return new Promise<Ended>((resolve) => child.on("close", (code) => resolve({ code, stdout, stderr })));
}

test("the command ends with one JSON object, leaves nothing behind, and warns of nothing", async () => {
  const temporary = mkdtempSync(join(scratch, "tmp-"));
  const { code, stdout, stderr } = await command(["--requests", "200", "--json", "--seed", "3"], { TMPDIR: temporary });
  assert.equal(code, 0, stderr);
  const summary = JSON.parse(stdout.trimEnd().split("\n").at(-1)!) as Record<string, number>;
  assert.deepEqual(Object.keys(summary), [
    "requests",
    "accepted",
    "soldOut",
    "limited",
    "failed",
    "stock",
    "sold",
    "orders",
    "cancelled",
    "oversold",
    "lost",
    "duplicated",
    "p50Ms",
    "p99Ms",
    "requestsPerSecond",
  ]);
  assert.equal(summary.requests, 200);
  assert.ok(Object.values(summary).every(Number.isFinite));
  assert.doesNotMatch(stderr, /warning/i);
  assert.deepEqual(readdirSync(temporary), []);
});

test("without --json the command ends with a report", async () => {
  const { code, stdout } = await command(["--requests", "100", "--data", join(scratch, "kept")]);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /accepted .*\n.*sold out .*\n/);
  assert.match(stdout, /The audit holds/);
  assert.ok(existsSync(join(scratch, "kept", "orders.db")));
});

test("a wrong option is one line on standard error and exit code 2", async () => {
  const full = mkdtempSync(join(scratch, "full-"));
  writeFileSync(join(full, "something"), "");
  for (const args of [["--requests", "lots"], ["--nonsense"], ["--data", full], ["--processes"]]) {
    const { code, stdout, stderr } = await command(args);
    assert.equal(code, 2);
    assert.equal(stdout, "");
    assert.match(stderr, /^flash sale: [^\n]+\n$/);
  }
});

test("--help names every option", async () => {
  const { code, stdout } = await command(["--help"]);
  assert.equal(code, 0);
  const options = ["requests", "stock", "buyers", "seed", "flow", "engine", "processes", "redis", "postgres"];
  for (const option of [...options, "crash", "data", "json", "help"]) {
    assert.match(stdout, new RegExp(`--${option}\\b`));
  }
});

test("an interrupt ends the sale's process and removes the temporary directory", async () => {
  const temporary = mkdtempSync(join(scratch, "tmp-"));
  // The first line of progress comes once the sale is open.
  const { code, stdout } = await command(["--requests", "200000", "--json"], { TMPDIR: temporary }, () => "SIGINT");
  assert.equal(code, 130);
  assert.equal(stdout, "");
  assert.deepEqual(readdirSync(temporary), []);
});
