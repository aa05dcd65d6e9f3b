import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mock, test } from "node:test";
import { SystemTimers } from "./timers.ts";

test("sleeping never ends early", async () => {
  const timers = new SystemTimers();
  for (const ms of [0, 0.4, 1, 2.5, 5, 7]) {
    const startedAt = performance.now();
    await timers.sleep(ms);
    assert.ok(performance.now() - startedAt >= ms);
  }
});

test("an aborted sleep rejects with the signal's reason", async () => {
  const timers = new SystemTimers();
  const reason = new Error("enough");
  await assert.rejects(timers.sleep(60_000, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const sleep = timers.sleep(60_000, { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(sleep, reason);
});

test("a sleep that ended does not mind a later abort", async () => {
  const controller = new AbortController();
  const sleep = new SystemTimers().sleep(1, { signal: controller.signal });
  await sleep;
  controller.abort();
  assert.equal(await sleep, undefined);
});

test("a cancelled call does not happen, and cancelling afterwards is harmless", async () => {
  const timers = new SystemTimers();
  const calls: string[] = [];
  const cancel = timers.schedule(1, () => calls.push("cancelled"));
  cancel();
  const kept = timers.schedule(1, () => calls.push("kept"));
  await timers.sleep(10);
  kept();
  assert.deepEqual(calls, ["kept"]);
});

test("a delay longer than setTimeout can count is waited for in full", (context) => {
  const monthMs = 2 ** 31 - 1;
  let nowMs = 0;
  context.mock.method(performance, "now", () => nowMs);
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  let called = 0;
  new SystemTimers().schedule(2 * monthMs + 10, () => {
    called += 1;
  });
  const pass = (ms: number) => {
    nowMs += ms;
    mock.timers.tick(ms);
  };
  pass(monthMs);
  pass(monthMs);
  pass(9);
  assert.equal(called, 0);
  pass(1);
  assert.equal(called, 1);
});

test("a long delay is not more than setTimeout takes", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error) => warnings.push(warning);
  process.on("warning", note);
  const cancel = new SystemTimers().schedule(2 ** 40, () => {});
  await new Promise((resolve) => setImmediate(resolve));
  cancel();
  process.off("warning", note);
  assert.deepEqual(warnings, []);
});

test("a scheduled call does not keep the process alive, a sleep does", () => {
  const module = new URL("./timers.ts", import.meta.url).href;
  const program = `
    const { SystemTimers } = await import(${JSON.stringify(module)});
    const timers = new SystemTimers();
    timers.schedule(3_600_000, () => {});
    await timers.sleep(5);
    process.stdout.write("slept");
  `;
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", program], { timeout: 60_000 });
  assert.equal(String(child.stdout), "slept");
  assert.equal(child.status, 0);
});
