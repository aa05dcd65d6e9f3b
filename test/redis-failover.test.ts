import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Redis } from "ioredis";
import { type KeyValueChange, type KeyValueEngine, TenonError } from "tenon/contracts";
import { redis } from "tenon/redis";
import { redisCommand } from "../scripts/engines/redis-protocol.ts";
import { startReplicated } from "./redis-groups.ts";
import { redisServerMissing } from "./redis-server.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const put = (key: string, value: string): KeyValueChange => ({ type: "put", key, value: Buffer.from(value) });

/** During the failover commits fail; what is put here may be put twice. */
async function committed(keyValue: KeyValueEngine, change: KeyValueChange): Promise<bigint> {
  for (;;) {
    try {
      const result = await keyValue.commit([change]);
      assert.ok(result.committed);
      return result.version;
    } catch (error) {
      assert.ok(error instanceof TenonError && error.code === "unavailable", String(error));
    }
  }
}

test("an engine goes on with the new primary after a failover, and so does a watch", {
  skip: redisServerMissing,
}, async (t) => {
  const { primary, replica, sentinelPort: port, name } = await startReplicated(t);
  const connect = () =>
    new Redis({ sentinels: [{ host: "127.0.0.1", port }], name, autoResendUnfulfilledCommands: false });
  await using engine = await redis({ connect, commandTimeoutMs: 1_000 });

  const state = new Map<string, string>();
  let wake: (() => void) | undefined;
  const following = (async () => {
    for await (const event of engine.keyValue.watch("", { signal: engine.ended })) {
      if (event.type === "put") state.set(event.entry.key, Buffer.from(event.entry.value).toString());
      if (event.type === "delete") state.delete(event.key);
      wake?.();
    }
  })();
  const shows = async (key: string, value: string) => {
    while (state.get(key) !== value) await new Promise<void>((resolve) => (wake = resolve));
  };

  let version = await committed(engine.keyValue, put("k", "before"));
  await shows("k", "before");
  await primary.stop();
  const next = await committed(engine.keyValue, put("k", "after"));
  assert.ok(next > version, "versions go on");
  version = next;
  await shows("k", "after");
  assert.match(String(await redisCommand(replica.url, "ROLE")), /^master/);
  assert.ok((await committed(engine.keyValue, put("k2", "1"))) > version);
  await engine.close();
  await following;
});
