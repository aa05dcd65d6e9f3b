import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { engineAddress, readAddresses } from "./addresses.ts";
import { isInstalled } from "./packages.ts";
import { probe } from "./probes.ts";
import { redisCommand } from "./redis-protocol.ts";

const main = fileURLToPath(new URL("main.ts", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "tenon engines "));
const environment = { ...process.env, TENON_ENGINES_DIR: directory };

const installed = ["redis-server", "nats-server"].every((program) => isInstalled({ package: program, program }));
const slow = process.env.TENON_SLOW === "1";
const skip = !slow ? "a slow round: TENON_SLOW=1" : !installed && "redis-server and nats-server are not installed";

after(() => {
  engines("down", "--clean");
  rmSync(directory, { recursive: true, force: true });
});

function engines(...parameters: string[]): { status: number | null; output: string; errors: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...parameters], {
    encoding: "utf8",
    env: environment,
  });
  return { status, output: stdout, errors: stderr };
}

interface Shown {
  readonly name: string;
  readonly state: string;
  readonly processes: readonly number[];
}

const shown = (...names: string[]): Shown[] => JSON.parse(engines("status", "--json", ...names).output);
const without = (name: string) => {
  const { [name]: _, ...others } = environment as Record<string, string>;
  return others;
};
const addressOf = (name: "redis" | "nats") =>
  engineAddress(name, without(name === "redis" ? "TENON_REDIS_URL" : "TENON_NATS_URL"));

test("servers serve when up returns, keep running when it is repeated, and end with down", { skip }, async () => {
  assert.equal(engines("up", "redis", "nats").status, 0);
  await probe(addressOf("redis"));
  await probe(addressOf("nats"));
  const first = shown("redis", "nats");
  assert.deepEqual(
    first.map(({ name, state }) => [name, state]),
    [
      ["redis", "up"],
      ["nats", "up"],
    ],
  );
  await redisCommand(addressOf("redis").url, "SET", "kept", "yes");

  assert.equal(engines("up", "redis", "nats").status, 0);
  assert.deepEqual(shown("redis", "nats"), first);

  const { url } = addressOf("redis");
  assert.equal(engines("down").status, 0);
  await assert.rejects(redisCommand(url, "PING"), /ECONNREFUSED/);
  assert.deepEqual(readAddresses(join(directory, "addresses.json")), {});

  assert.equal(engines("up", "redis").status, 0);
  assert.equal(await redisCommand(addressOf("redis").url, "GET", "kept"), "yes");
});

test("a process that has the recorded id but not the start time is left alone by down", { skip }, async () => {
  assert.equal(engines("up", "redis").status, 0);
  const { url } = addressOf("redis");
  const file = join(directory, "state.json");
  const real = readFileSync(file, "utf8");
  const state = JSON.parse(real);
  state.redis.processes["redis-1"].started = "another boot 1";
  writeFileSync(file, JSON.stringify(state));
  assert.equal(engines("down", "redis").status, 0);
  assert.equal(await redisCommand(url, "PING"), "PONG");
  writeFileSync(file, real);
  assert.equal(engines("down", "redis").status, 0);
  await assert.rejects(redisCommand(url, "PING"), /ECONNREFUSED/);
});

test("a server that was killed shows as not up, and up starts it again", { skip }, async () => {
  assert.equal(engines("up", "redis").status, 0);
  const [before] = shown("redis");
  process.kill(before!.processes[0]!, "SIGKILL");
  while (shown("redis")[0]!.state === "up");
  assert.equal(engines("up", "redis").status, 0);
  assert.equal(shown("redis")[0]!.state, "up");
});

test("a server that ends at once is an error with the end of its log", { skip }, () => {
  assert.equal(engines("up", "redis").status, 0);
  assert.equal(engines("down", "redis").status, 0);
  const { redis } = JSON.parse(readFileSync(join(directory, "state.json"), "utf8"));
  writeFileSync(join(redis.directory, "redis-1", "appendonlydir", "appendonly.aof.manifest"), "nonsense\n");
  const { status, errors } = engines("up", "redis");
  assert.equal(status, 1);
  assert.match(errors, /redis-1 ended[\s\S]*Invalid AOF manifest/);
  assert.equal(engines("down", "--clean", "redis").status, 0);
});

test("down --clean leaves no data", { skip }, () => {
  assert.equal(engines("up", "redis").status, 0);
  const data = JSON.parse(readFileSync(join(directory, "state.json"), "utf8")).redis.directory;
  assert.ok(existsSync(data));
  assert.equal(engines("down", "--clean").status, 0);
  assert.ok(!existsSync(data));
});

test("what is no command, no option or no engine is refused with the usage", () => {
  for (const parameters of [[], ["start"], ["up", "cassandra"], ["down", "--force"]]) {
    const { status, errors } = engines(...parameters);
    assert.equal(status, 2, parameters.join(" "));
    assert.match(errors, /Usage: npm run engines/);
  }
});
