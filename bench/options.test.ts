import assert from "node:assert/strict";
import { test } from "node:test";
import { parseOptions, UsageError } from "./options.ts";

const refusal = (...commandLine: string[]): string => {
  try {
    parseOptions(commandLine);
  } catch (error) {
    assert.ok(error instanceof UsageError);
    return error.message;
  }
  assert.fail("nothing was thrown");
};

test("a benchmark alone is measured in five rounds, one when quick", () => {
  assert.deepEqual(parseOptions(["messaging"]), {
    name: "messaging",
    rounds: 5,
    quick: false,
    jsonPath: undefined,
    only: undefined,
  });
  assert.deepEqual(parseOptions(["topics", "--quick"]), {
    name: "topics",
    rounds: 1,
    quick: true,
    jsonPath: undefined,
    only: undefined,
  });
});

test("options may stand before and after the name", () => {
  const expected = { name: "journal", rounds: 3, quick: true, jsonPath: "out.json", only: undefined };
  assert.deepEqual(parseOptions(["--quick", "journal", "--rounds", "3", "--json=out.json"]), expected);
});

test("of the scenarios on servers those can be chosen that are called so", () => {
  for (const name of ["redis", "engines"] as const) {
    const expected = { name, rounds: 5, quick: false, jsonPath: undefined, only: "locks" };
    assert.deepEqual(parseOptions([name, "--only", "locks"]), expected);
  }
});

test("help wins over what else is wrong", () => {
  assert.equal(parseOptions(["nonsense", "--help"]), "help");
});

test("every mistake is refused in one line that names it", () => {
  const mistakes: [string[], RegExp][] = [
    [[], /which benchmark/],
    [["mesaging"], /"mesaging"/],
    [["journal", "messaging"], /"messaging"/],
    [["journal", "--rounds", "0"], /"0"/],
    [["journal", "--rounds", "1.5"], /"1\.5"/],
    [["journal", "--rounds", ""], /--rounds/],
    [["journal", "--rounds"], /--rounds/],
    [["journal", "--fast"], /--fast/],
    [["journal", "--json", ""], /--json/],
    [["redis", "--only", ""], /--only/],
    [["redis", "--only"], /--only/],
    [["journal", "--only", "locks"], /"journal"/],
  ];
  for (const [commandLine, pattern] of mistakes) {
    const message = refusal(...commandLine);
    assert.match(message, pattern);
    assert.equal(message.includes("\n"), false);
  }
});
