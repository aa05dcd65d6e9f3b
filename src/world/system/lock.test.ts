import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { lockFile } from "./lock.ts";

function scratch(context: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "tenon-lock-"));
  context.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

/** Another process that takes the lock, says so, and stays. */
async function holder(path: string): Promise<ChildProcess> {
  const module = new URL("./lock.ts", import.meta.url).href;
  const program = `
    const { lockFile } = await import(${JSON.stringify(module)});
    const lock = await lockFile(${JSON.stringify(path)}, "the other");
    process.stdout.write("release" in lock ? "held" : "refused: " + lock.heldBy);
    setInterval(() => lock, 60_000);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "pipe"] });
  let complaints = "";
  child.stderr?.on("data", (bytes) => {
    complaints += bytes;
  });
  const said = await Promise.race([once(child.stdout!, "data"), once(child, "exit")]);
  assert.equal(String(said[0]), "held", complaints);
  assert.equal(complaints, "", "taking the lock prints nothing");
  return child;
}

test("a lock held by another process is refused with its owner and process id", async (context) => {
  const path = join(scratch(context), "owner.db");
  const child = await holder(path);
  try {
    assert.deepEqual(await lockFile(path, "me"), { heldBy: `the other (pid ${child.pid})` });
  } finally {
    child.kill("SIGKILL");
    await once(child, "exit");
  }
});

test("SIGKILL frees the lock", async (context) => {
  const path = join(scratch(context), "owner.db");
  for (let round = 0; round < 3; round++) {
    const child = await holder(path);
    const exited = once(child, "exit");
    child.kill("SIGKILL");
    await exited;
    const lock = await lockFile(path, "me");
    assert.ok("release" in lock, JSON.stringify(lock));
    assert.equal(readFileSync(`${path}.owner`, "utf8"), `me (pid ${process.pid})\n`);
    await lock.release();
  }
});

test("of many who try at once exactly one gets the lock", async (context) => {
  const path = join(scratch(context), "owner.db");
  const answers = await Promise.all(Array.from({ length: 8 }, (_, index) => lockFile(path, `number ${index}`)));
  assert.equal(answers.filter((answer) => "release" in answer).length, 1);
  for (const answer of answers) if ("release" in answer) await answer.release();
});

test("a lock file that is something else is an io failure", async (context) => {
  const path = join(scratch(context), "owner.db");
  writeFileSync(path, "this is no database, and it is long enough to be looked at".repeat(100));
  await assert.rejects(lockFile(path, "me"), { name: "DiskError", failure: "io", path });
});
