import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { identify, isRunning, startOf } from "./ownership.ts";

const fields = (state: string, start: string): string => `${state} ${Array(18).fill("0").join(" ")} ${start} 0 0`;
const skip = process.platform !== "linux" && "there is no /proc";

test("the start time is found after a command's name with spaces and parentheses", () => {
  assert.equal(startOf(`12 (a) S b ) c) ${fields("S", "4711")}`), "4711");
});

test("a process that has ended and was not waited for has no start time", () => {
  assert.equal(startOf(`12 (redis-server) ${fields("Z", "4711")}`), undefined);
});

test("a line that is cut has no start time", () => {
  assert.equal(startOf("12 (redis-server) S 1 2 3"), undefined);
});

test("a process that got the id of ours, but started at another time, is not ours", () => {
  const owned = { pid: 12, started: "boot 4711" };
  assert.equal(
    isRunning(owned, () => ({ pid: 12, started: "boot 4711" })),
    true,
  );
  assert.equal(
    isRunning(owned, () => ({ pid: 12, started: "boot 9999" })),
    false,
  );
  assert.equal(
    isRunning(owned, () => ({ pid: 12, started: "next-boot 4711" })),
    false,
  );
  assert.equal(
    isRunning(owned, () => undefined),
    false,
  );
});

test("a real process is ours while it runs, and not after its end", { skip }, async () => {
  const child = spawn(process.execPath, ["-e", "process.stdin.resume()"], { stdio: ["pipe", "ignore", "ignore"] });
  const owned = identify(child.pid!);
  assert.ok(owned !== undefined && isRunning(owned));
  child.stdin.end();
  await once(child, "exit");
  assert.equal(isRunning(owned), false);
});
