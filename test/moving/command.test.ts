/** What `tenon` answers: its exit codes, and what it writes where. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { program } from "./site.ts";

const limits = { timeout: 60_000 };

interface Answer {
  readonly code: number | null;
  readonly out: string;
  readonly errors: string;
}

/** `onOut` hears all that was written so far, and may send a signal. */
async function tenon(
  args: readonly string[],
  onOut: (out: string, send: (signal: NodeJS.Signals) => void) => void = () => undefined,
): Promise<Answer> {
  const child = spawn(process.execPath, ["--conditions=source", program("../../src/cli/main.ts"), ...args], {
    cwd: program("modules/"),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    onOut(out, (signal) => child.kill(signal));
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    errors += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  return { code, out, errors };
}

test("help is written out", limits, async () => {
  const answers = await Promise.all([tenon(["--help"]), tenon(["migrate-topic", "--help"])]);
  for (const { code, out, errors } of answers) {
    assert.deepEqual([code, errors], [0, ""]);
    assert.match(out, /^Usage: tenon/);
  }
});

test("in a clone npm runs it from the sources, as the document says", limits, async () => {
  const child = spawn("npm", ["run", "--silent", "tenon", "--", "migrate-topic", "--help"], {
    cwd: program("../../"),
    stdio: ["ignore", "pipe", "ignore"],
  });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  const [code] = (await once(child, "close")) as [number | null];
  assert.equal(code, 0);
  assert.match(out, /^Usage: tenon migrate-topic/m);
});

const engines = ["--from", "unused.ts", "--to", "memory.ts"];
const wrong: readonly (readonly [args: readonly string[], says: RegExp])[] = [
  [[], /a command is missing; see tenon --help/],
  [["move"], /no command move/],
  [["migrate-topic"], /the topic is missing; see tenon migrate-topic --help/],
  [["migrate-topic", "orders", "payments", ...engines], /one topic at a time, not also payments/],
  [["migrate-topic", "orders", "--to", "memory.ts"], /--from is missing/],
  [["migrate-topic", "orders", "--from", "memory.ts"], /--to is missing/],
  [["migrate-topic", "orders", "--lag-max", "few", ...engines], /--lag-max takes a whole number, not 'few'/],
  [["migrate-topic", "orders", "--fast"], /Unknown option '--fast'/],
  [["migrate-topic", "orders", "--from", "nothing.ts", "--to", "memory.ts"], /nothing\.ts exports no engine/],
];

test("a command line that makes no sense is one line and exit code 2", limits, async () => {
  for (const [args, says] of wrong) {
    const { code, out, errors } = await tenon(args);
    assert.deepEqual([code, out], [2, ""], args.join(" "));
    assert.match(errors, says);
    assert.match(errors, /^tenon: [^\n]+\n$/);
  }
});

test("what fails is one line and exit code 1", limits, async () => {
  const parameters = ["--from", "unused.ts", "--to"];
  const answers = [
    [await tenon(["migrate-topic", "payments", ...parameters, "memory.ts"]), /no topic payments.*Nothing was done/],
    [await tenon(["migrate-topic", "orders", ...parameters, "missing.ts"]), /missing\.ts/],
    [await tenon(["migrate-topic", "orders", ...parameters, "unused.ts"]), /on the other engine already/],
  ] as const;
  for (const [{ code, out, errors }, says] of answers) {
    assert.equal(code, 1);
    assert.match(errors, says);
    assert.match(errors, /^tenon: [^\n]+\n$/);
    assert.doesNotMatch(out + errors, /\bat \S+:\d+/);
  }
});

test("a move says a line for each stage, and in the end what has moved", limits, async () => {
  const { code, out, errors } = await tenon(["migrate-topic", "orders", ...engines]);
  assert.deepEqual([code, errors], [0, ""]);
  const lines = out.split("\n").filter((line) => !/\d copied, /.test(line));
  assert.deepEqual(lines, [
    "orders: copying, while publishers and consumers go on where they are",
    "orders: publishers wait until the last messages are copied",
    "orders: publishers go to the other engine, and where the groups stand is carried over",
    "orders: consumers go to the other engine",
    "orders has moved: 1 message copied",
    "",
  ]);
});

test("a move that waits says for whom, and an interrupted one how it goes on", limits, async () => {
  const args = ["migrate-topic", "orders", "--from", "held.ts", "--to", "memory.ts"];
  for (const [signal, code] of [
    ["SIGINT", 130],
    ["SIGTERM", 143],
  ] as const) {
    let isSent = false;
    const answer = await tenon(args, (out, send) => {
      // A second one would end it at once.
      if (isSent || !out.includes("still has")) return;
      isSent = true;
      send(signal);
    });
    assert.deepEqual([answer.code, answer.errors], [code, ""]);
    assert.match(answer.out, /^orders: group billing still has 1 member; they leave when they use moving\(\)$/m);
    assert.match(answer.out, new RegExp(`^interrupted by ${signal}\\. .*The same command goes on with it$`, "m"));
  }
});

test("with --json each line is JSON", limits, async () => {
  const { code, out } = await tenon(["migrate-topic", "orders", ...engines, "--json"]);
  assert.equal(code, 0);
  const events = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { event: string; topic: string; copiedCount: number });
  assert.ok(events.every(({ topic }) => topic === "orders"));
  assert.deepEqual(events.at(-1), { event: "moved", topic: "orders", topics: ["orders"], copiedCount: 1 });
  assert.ok(events.slice(0, -1).every(({ event }) => event === "progress"));
});
