import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
const scenarios = new URL("fixtures/scenarios/", import.meta.url).href;
const directory = mkdtempSync(join(tmpdir(), "tenon-simulate-test-"));
after(() => rmSync(directory, { recursive: true, force: true }));

interface Ended {
  readonly code: number | null;
  readonly out: string;
  readonly error: string;
}

/** Runs the program, as `npm run simulate` does, over the scenarios that stand in fixtures/. */
function simulated(commandLine: string, from = scenarios): Promise<Ended> {
  const child = spawn(process.execPath, ["--conditions=source", main, ...commandLine.split(" ")], {
    env: { ...process.env, TENON_SCENARIOS: from },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let error = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    error += text;
  });
  return new Promise((resolve) => child.on("close", (code) => resolve({ code, out, error })));
}

test("seeds that pass are counted, and the exit code is 0", async () => {
  const { code, out } = await simulated("--scenario calm --seeds 20");
  assert.equal(code, 0, out);
  assert.match(out, /^20 seeds, .* of virtual time, .*\n20 passed, 0 failed\n$/);
});

test("a fresh start is printed", async () => {
  const { code, out } = await simulated("--scenario calm --seeds 2 --from random --faults lite");
  assert.equal(code, 0);
  assert.match(out, /^seeds from \d+\n2 seeds, .* no faults\n/);
});

test("the time bounds the whole", async () => {
  const { code, out } = await simulated("--scenario calm --time 1 --jobs 1");
  assert.equal(code, 0);
  assert.match(out, /\n\d+ passed, 0 failed\n$/);
});

test("a failure names the rule, the faults that it needs, and the command that replays it", async () => {
  const { code, out } = await simulated("--scenario crash-and-pause --seeds 3 --from 1");
  assert.equal(code, 1, out);
  assert.match(out, /seed \d of crash-and-pause failed: nobody stands still beside a newcomer: two stood still beside/);
  assert.match(out, /code {5}[0-9a-f]{12}/);
  assert.match(out, /last events[\s\S]*fault \d+ stops two for/);
  assert.match(
    out,
    / faults planned, \d+ struck, 2 needed:\n +\d+ .* (crashe|kill)s one for .*\n +\d+ .* stops two for/,
  );
  const replay = /replay {3}npm run simulate -- (.*)\n/.exec(out)?.[1];
  assert.ok(replay !== undefined, out);
  const again = await simulated(replay);
  assert.equal(again.code, 1);
  assert.match(again.out, / faults planned, 2 struck, 2 needed/);
});

test("what was found is one document, too", async () => {
  const { code, out } = await simulated("--scenario crash-and-pause --seeds 3 --from 1 --json --no-shrink");
  assert.equal(code, 1);
  const found = JSON.parse(out);
  assert.equal(found.passed + found.failed, 3);
  assert.equal(found.failures[0].kind, "rule");
  assert.match(found.failures[0].replay, /--from \d/);
  assert.ok(found.investigations[0].struck.length >= 2);
  assert.equal(found.investigations[0].again, true);
});

test("a seed that loops for ever is ended and named, and the others go on", async () => {
  const { code, out } = await simulated("--scenario loops --seeds 4 --jobs 1 --seed-timeout 3");
  assert.equal(code, 1);
  assert.match(out, /seed 2 of loops failed: no event happened for 3 s/);
  assert.match(out, /last events\n[\s\S]*loops now/);
  assert.match(out, /3 passed, 1 failed\n$/);
});

test("a process that dies is a failure of its seed, and the others go on", async () => {
  const { code, out } = await simulated("--scenario dies --seeds 4 --jobs 1");
  assert.equal(code, 1);
  assert.match(out, /seed 2 of dies failed: the process that ran the seed ended in the middle of it, by SIGKILL/);
  assert.match(out, /last events\n[\s\S]*dies now/);
  assert.match(out, /details\n +it was me/);
  assert.match(out, /3 passed, 1 failed\n$/);
});

test("a run that does not repeat itself fails, at the first line that differs", async () => {
  const { code, out } = await simulated("--scenario remembers --seeds 2 --jobs 1 --twice-every 2");
  assert.equal(code, 1);
  assert.match(out, /seed 1 of remembers failed: not deterministic: .* line 2: first "1 .*", then "2 /);
  assert.match(out, /replay {3}.* --twice-every 1\n/);
  assert.match(out, /1 passed, 1 failed\n$/);
});

test("a failure that an earlier seed left behind is said to be one", async () => {
  const { out } = await simulated("--scenario leaves-behind --seeds 2 --jobs 1 --twice-every 0");
  assert.match(out, /seed 2 of leaves-behind failed/);
  assert.match(out, /it did not fail so when it was run alone/);
});

test("bailing stops at the first failure", async () => {
  const { out } = await simulated("--scenario dies --seeds 50 --jobs 1 --bail --no-shrink");
  assert.match(out, /\n1 passed, 1 failed\n$/);
});

test("a timeline shows one seed, on standard output or in a file", async () => {
  const { code, out } = await simulated("--scenario calm --trace --from 3");
  assert.equal(code, 0);
  assert.match(out, /^ +ms {4}one +two\n/);
  assert.match(out, /log info: slept\n[\s\S]*everything heals\n/);
  const file = join(directory, "timeline.txt");
  const written = await simulated(`--scenario calm --from 3 --trace ${file}`);
  assert.equal(written.code, 0);
  assert.ok(out.startsWith(readFileSync(file, "utf8")));
});

test("ended by a signal, it ends its children and tells what is known", async () => {
  const child = spawn(
    process.execPath,
    ["--conditions=source", main, "--scenario", "loops", "--from", "2", "--seeds", "1"],
    {
      env: { ...process.env, TENON_SCENARIOS: scenarios },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  const looping = Promise.withResolvers<number>();
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    const id = /process (\d+) loops/.exec(text)?.[1];
    if (id !== undefined) looping.resolve(Number(id));
  });
  const id = await looping.promise;
  child.kill("SIGTERM");
  const code = await new Promise((resolve) => child.on("close", resolve));
  assert.equal(code, 130);
  assert.match(out, /0 passed, 0 failed, interrupted, 1 unfinished: seed 2 of loops\n$/);
  while (isAlive(id)) await new Promise((resolve) => setImmediate(resolve));
});

function isAlive(id: number): boolean {
  try {
    // Whoever nobody has waited for yet answers to its id, and does nothing any more.
    return process.kill(id, 0) && !/^State:\s+Z/m.test(readFileSync(`/proc/${id}/status`, "utf8"));
  } catch {
    return false;
  }
}

test("wrong arguments are refused in one line, with exit code 2", async () => {
  const { code, out, error } = await simulated("--scenario calmer");
  assert.deepEqual([code, out], [2, ""]);
  assert.match(error, /^simulate: there is no scenario "calmer"; choose among: calm, .*\n$/);
});

test("a timeline that cannot be written is refused before the run", async () => {
  const { code, out, error } = await simulated("--scenario calm --trace /nonexistent/x");
  assert.deepEqual([code, out], [2, ""]);
  assert.match(error, /^simulate: --trace cannot write \/nonexistent\/x: ENOENT .*\n$/);
});

test("faults that were not planned are named where they are to be left out", async () => {
  const { code, error } = await simulated("--scenario calm --faults lite --without 3,99998-99999");
  assert.equal(code, 0);
  assert.match(error, /^simulate: --without 3,99998,99999 leaves nothing out: the seed plans no faults\n$/m);
});

test("a scenario that cannot be loaded is named with the reason, and no seed is blamed", async () => {
  const texts = { empty: "export {};", lost: 'import "./nowhere.ts";', dying: "process.exit(3);" };
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(directory, `${name}.ts`), text);
  const own = `${pathToFileURL(directory).href}/`;
  const empty = await simulated("--scenario empty --seeds 4", own);
  assert.deepEqual([empty.code, empty.out], [2, ""]);
  assert.match(empty.error, /^scenario empty: Error: empty\.ts exports no `scenario`\n$/);
  const lost = await simulated("--scenario lost --seeds 4", own);
  assert.deepEqual([lost.code, lost.out], [2, ""]);
  assert.match(lost.error, /^scenario lost: Error.*: Cannot find module .*nowhere\.ts.*\n$/);
  const dying = await simulated("--scenario dying --seeds 1", own);
  assert.equal(dying.code, 1);
  assert.match(dying.out, /seed 1 of dying failed: the process that ran the seed ended .* with exit code 3/);
  assert.doesNotMatch(dying.out + dying.error, /ENOENT/);
});

test("help lists the scenarios", async () => {
  const { code, out } = await simulated("--help");
  assert.equal(code, 0);
  assert.match(out, /^Usage: npm run simulate/);
  assert.match(out, /Scenarios: calm, /);
});
