import assert from "node:assert/strict";
import { createServer } from "node:net";
import { after, test } from "node:test";
import { engine, isRequired } from "./engines.ts";

const former = { url: process.env.TENON_REDIS_URL, required: process.env.TENON_REQUIRE_ENGINES };
after(() => {
  restore("TENON_REDIS_URL", former.url);
  restore("TENON_REQUIRE_ENGINES", former.required);
});

function restore(name: string, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

test("an engine is required when the list names it, or all", () => {
  assert.equal(isRequired("redis", ""), false);
  assert.equal(isRequired("redis", "postgres, redis"), true);
  assert.equal(isRequired("redis", "redis-cluster"), false);
  assert.equal(isRequired("kafka", "all"), true);
});

test("a name in the list that is no engine is refused, so that a slip does not switch tests off", () => {
  assert.throws(() => isRequired("redis", "reddis"), /reddis/);
});

test("an engine that does not answer is a reason to skip that says where it was looked for, without credentials", async () => {
  const port = await portThatNobodyServes();
  process.env.TENON_REDIS_URL = `redis://:hidden@127.0.0.1:${port}`;
  delete process.env.TENON_REQUIRE_ENGINES;
  const { skip } = await engine("redis");
  assert.ok(skip !== false);
  assert.match(skip, new RegExp(`redis does not answer at 127\\.0\\.0\\.1:${port} \\(from TENON_REDIS_URL\\)`));
  assert.doesNotMatch(skip, /hidden/);
});

test("an engine that is required and does not answer is a failure", async () => {
  process.env.TENON_REDIS_URL = `redis://127.0.0.1:${await portThatNobodyServes()}`;
  process.env.TENON_REQUIRE_ENGINES = "redis";
  await assert.rejects(engine("redis"), /TENON_REQUIRE_ENGINES requires redis/);
});

test("a server that accepts and says nothing does not hold a test up", async (t) => {
  const server = createServer((socket) => socket.on("error", () => {}));
  t.after(() => server.close());
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  process.env.TENON_REDIS_URL = `redis://127.0.0.1:${address.port}`;
  delete process.env.TENON_REQUIRE_ENGINES;
  assert.match(String((await engine("redis")).skip), /no answer within/);
});

async function portThatNobodyServes(): Promise<number> {
  const server = createServer();
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  const address = server.address();
  await new Promise((settle) => server.close(settle));
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}
