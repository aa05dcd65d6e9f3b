/** A topic moves from Redis to PostgreSQL, which both delay messages, while other processes publish and consume, and the command that moves it is killed. */

import { after, test } from "node:test";
import { Redis } from "ioredis";
import { engine } from "../engines.ts";
import { dropTables } from "../postgres-host.ts";
import { removeKeys } from "../redis-messages-host.ts";
import { testPrefix } from "../test-prefix.ts";
import { auditedMove, type MovePlan } from "./audited-move.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));
const isSlow = process.env.TENON_SLOW === "1";
const [redis, postgres] = [await engine("redis"), await engine("postgres")];
const skip = redis.skip || postgres.skip;

/** In the ordinary suite only the first. */
const kills: readonly MovePlan["killedAt"][] = [["closing"], [], ["copying", "moved"], ["closing", "copied"]];

for (const killedAt of isSlow ? kills : kills.slice(0, 1)) {
  test(`from Redis to PostgreSQL, killed while: ${killedAt.join(", ") || "never"}`, {
    skip,
    timeout: isSlow ? 600_000 : 170_000,
  }, async (t) => {
    const prefix = testPrefix();
    await auditedMove(t, {
      async site() {
        t.after(async () => {
          await dropTables(postgres.url, prefix);
          const client = new Redis(redis.url);
          await removeKeys([client], prefix);
          client.disconnect();
        });
        return {
          from: { engine: "redis", url: redis.url, prefix },
          to: { engine: "postgres", url: postgres.url, prefix },
        };
      },
      delays: true,
      killedAt,
      count: isSlow ? 10_000 : 400,
    });
  });
}
