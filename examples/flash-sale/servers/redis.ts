import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Redis } from "ioredis";
import { redis } from "tenon/redis";
import { redisServerMissing, startRedis } from "../../../scripts/engines/redis-server.ts";
import { UsageError } from "../options.ts";
import type { ServerDriver, ServerStore } from "../sale-servers.ts";

export const redisDriver: ServerDriver = {
  async prepare(store, connectTimeoutMs) {
    // Opening an engine looks at the server's settings.
    const engine = await open(store, connectTimeoutMs);
    await engine.close();
  },
  open,
  async remove({ url, prefix }) {
    const client = connect(url);
    try {
      for await (const keys of client.scanStream({ match: `${prefix}:*`, count: 1_000 })) {
        if ((keys as string[]).length > 0) await client.unlink(keys as string[]);
      }
    } finally {
      client.disconnect();
    }
  },
  startOwn(parent) {
    if (redisServerMissing !== false) {
      throw new UsageError(
        `${redisServerMissing}, and --crash kills a server of its own: install it, or name one that is left alone with --redis`,
      );
    }
    const directory = join(parent, "redis");
    mkdirSync(directory);
    return startRedis({ directory, appendfsync: "always" });
  },
};

function open({ url, prefix }: ServerStore, connectTimeoutMs?: number) {
  return redis({ connect: () => connect(url), prefix, connectTimeoutMs });
}

function connect(url: string): Redis {
  return new Redis(url, { autoResendUnfulfilledCommands: false });
}
