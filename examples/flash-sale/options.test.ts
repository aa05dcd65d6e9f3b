import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCommandLine, UsageError } from "./options.ts";

test("without options it is fifty thousand requests from ten thousand buyers for two thousand units", () => {
  assert.deepEqual(parseCommandLine([]), {
    requests: 50_000,
    stock: 2_000,
    buyers: 10_000,
    seed: 1,
    flow: "queue",
    engine: "embedded",
    keyValue: undefined,
    urls: {},
    processes: false,
    crash: false,
    json: false,
    help: false,
    directory: undefined,
  });
});

test("stock and buyers follow the number of requests unless they are given", () => {
  const small = parseCommandLine(["--requests", "505"]);
  assert.deepEqual([small.stock, small.buyers], [21, 101]);
  const given = parseCommandLine(["--requests=505", "--stock", "0", "--buyers", "7", "--flow", "bucket", "--crash"]);
  assert.deepEqual([given.stock, given.buyers, given.flow, given.crash], [0, 7, "bucket", true]);
});

test("on Redis the services may be processes, and servers may be named", () => {
  const found = parseCommandLine(["--engine", "redis", "--processes"]);
  assert.deepEqual([found.engine, found.processes, found.urls], ["redis", true, {}]);
  const named = parseCommandLine(["--engine=redis", "--redis", "redis://h:1", "--postgres", "postgresql://u:p@h/d"]);
  assert.deepEqual([named.processes, named.urls], [false, { redis: "redis://h:1", postgres: "postgresql://u:p@h/d" }]);
});

test("a wrong URL is not repeated in the message, as it may hold a password", () => {
  assert.throws(
    () => parseCommandLine(["--engine", "redis", "--redis", "http://user:secret@host"]),
    (error: Error) => error instanceof UsageError && !error.message.includes("secret"),
  );
});

const wrong: readonly (readonly [args: readonly string[], message: RegExp])[] = [
  [["--requests", "0"], /--requests takes a whole number from 1 to 10000000, not '0'/],
  [["--requests", "1e3"], /not '1e3'/],
  [["--stock", "many"], /--stock takes a whole number/],
  [["--seed", "1.5"], /--seed/],
  [["--buyers="], /--buyers/],
  [["--flow", "river"], /--flow takes queue or bucket, not 'river'/],
  [["--engine", "pigeons"], /--engine takes embedded or redis or .*, not 'pigeons'/],
  [["--processes"], /--processes needs a server, as --engine redis/],
  [["--key-value", "redis"], /--key-value needs a server, as --engine redis/],
  [["--engine", "postgres", "--redis", "redis://localhost"], /--redis needs --engine redis/],
  [["--redis", "redis://localhost"], /--redis needs --engine redis/],
  [["--postgres", "postgres://localhost/shop"], /--postgres needs --engine postgres/],
  [["--engine", "redis", "--redis", "localhost"], /--redis takes a URL that begins with redis:\/\//],
  [["--engine", "redis", "--postgres", "mysql://localhost"], /--postgres takes a URL that begins with postgres:\/\//],
  [["--data", ""], /--data/],
  [["--requests"], /--requests/],
  [["--speed"], /--speed/],
  [["--json=yes"], /--json/],
  [["fast"], /fast/],
];

for (const [args, message] of wrong) {
  test(`"${args.join(" ")}" is a usage error of one line`, () => {
    assert.throws(
      () => parseCommandLine(args),
      (error: unknown) => {
        assert.ok(error instanceof UsageError);
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      },
    );
  });
}
