import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { numbersFrom, textOf } from "./fault-numbers.ts";
import { parseCommand, type SimulateCommand, UsageError } from "./options.ts";

const surroundings = { scenarios: ["messages", "leases"], cores: 8 };

function parsed(...commandLine: string[]): SimulateCommand {
  const command = parseCommand(commandLine, surroundings);
  assert.ok(command !== "help");
  return command;
}

function refusal(...commandLine: string[]): string {
  try {
    parseCommand(commandLine, surroundings);
  } catch (error) {
    assert.ok(error instanceof UsageError);
    return error.message;
  }
  assert.fail("nothing was thrown");
}

test("a scenario alone runs a hundred seeds from 1 in two processes, as it says itself", () => {
  assert.deepEqual(parsed("--scenario", "messages"), {
    scenarios: ["messages"],
    seedsMax: 100,
    from: 1,
    jobs: 2,
    timeMs: undefined,
    faults: undefined,
    without: [],
    twiceEvery: 50,
    seedTimeoutMs: 60_000,
    bail: false,
    shrink: true,
    trace: undefined,
    json: false,
  });
});

test("everything can be said", () => {
  const words =
    "--scenario=leases --seeds 500 --from 7 --time 300 --jobs 3 --faults lite --twice-every 0 --seed-timeout 1.5";
  assert.deepEqual(parsed(...words.split(" "), "--bail", "--no-shrink", "--json"), {
    scenarios: ["leases"],
    seedsMax: 500,
    from: 7,
    jobs: 3,
    timeMs: 300_000,
    faults: "lite",
    without: [],
    twiceEvery: 0,
    seedTimeoutMs: 1_500,
    bail: true,
    shrink: false,
    trace: undefined,
    json: true,
  });
});

test("a time alone is filled with seeds", () => {
  assert.equal(parsed("--scenario", "all", "--time", "60", "--from", "random").seedsMax, undefined);
});

test("one process suffices where there is one core", () => {
  const command = parseCommand(["--scenario", "leases"], { ...surroundings, cores: 1 });
  assert.equal(command !== "help" && command.jobs, 1);
});

test("all and several scenarios are run, each once", () => {
  assert.deepEqual(parsed("--scenario", "all").scenarios, ["messages", "leases"]);
  assert.deepEqual(parsed("--scenario", "leases", "--scenario", "leases").scenarios, ["leases"]);
});

test("leaving faults out and tracing are about one seed", () => {
  const command = parsed("--scenario", "leases", "--from", "9", "--without", "9,3,5-7,3");
  assert.deepEqual([command.seedsMax, command.without], [1, [3, 5, 6, 7, 9]]);
  assert.deepEqual(parsed("--scenario", "leases", "--trace", "--bail").trace, "-");
  assert.deepEqual(parsed("--scenario", "leases", "--bail", "--trace").trace, "-");
  assert.deepEqual(parsed("--scenario", "leases", "--trace", "out.txt", "--seeds", "1").trace, "out.txt");
});

test("help wins over what else is wrong with the values", () => {
  assert.equal(parseCommand(["--scenario", "nonsense", "--help"], surroundings), "help");
});

test("every mistake is refused in one line that names it", () => {
  const one = ["--scenario", "leases"];
  const mistakes: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /--scenario.*messages, leases, all/],
    [["--scenario", "mesages"], /"mesages"/],
    [["leases"], /leases/],
    [[...one, "--seeds", "0"], /--seeds.*"0"/],
    [[...one, "--seeds", "1.5"], /"1\.5"/],
    [[...one, "--seeds", ""], /--seeds/],
    [[...one, "--seeds"], /--seeds/],
    [[...one, "--from", "soon"], /--from.*"soon"/],
    [[...one, "--from", ""], /--from/],
    [[...one, "--jobs", "0"], /--jobs/],
    [[...one, "--jobs", "257"], /--jobs/],
    [[...one, "--time", "0"], /--time/],
    [[...one, "--time", "-1"], /--time/],
    [[...one, "--faults", "heavy"], /--faults.*"heavy"/],
    [[...one, "--without", "3;5"], /--without.*"3;5"/],
    [[...one, "--without", "5-3"], /--without/],
    [[...one, "--without", "3", "--seeds", "2"], /--without is for one seed/],
    [["--scenario", "all", "--trace"], /--trace is for one seed/],
    [[...one, "--trace="], /--trace/],
    [[...one, "--trace", "--json"], /--trace and --json/],
    [[...one, "--from", "9007199254740991", "--seeds", "2"], /--from 9007199254740991 leaves no room/],
    [[...one, "--from", "9007199254740991", "--time", "1"], /--from 9007199254740991 leaves no room/],
    [[...one, "--twice-every", "-1"], /--twice-every/],
    [[...one, "--seed-timeout", "0"], /--seed-timeout/],
    [[...one, "--fast"], /--fast/],
  ];
  for (const [commandLine, pattern] of mistakes) {
    const message = refusal(...commandLine);
    assert.match(message, pattern);
    assert.equal(message.includes("\n"), false, message);
  }
});

test("numbers of faults are written as they are read", () => {
  assert.equal(textOf([3, 9, 5, 6, 7, 11, 12]), "3,5-7,9,11,12");
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 60 }), { minLength: 1 }), (numbers) => {
      assert.deepEqual(
        numbersFrom(textOf(numbers)),
        [...numbers].sort((one, other) => one - other),
      );
    }),
  );
});
