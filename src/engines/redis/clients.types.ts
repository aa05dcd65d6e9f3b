/** Holds that the real clients fit what the engine asks of one. It is compiled, and never run or published. */
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import type { RedisClient } from "./clients.ts";

export const fitting: readonly (() => RedisClient)[] = [
  () => new Redis("redis://localhost", { autoResendUnfulfilledCommands: false }),
  () =>
    new Redis({
      sentinels: [{ host: "localhost", port: 26_379 }],
      name: "primary",
      autoResendUnfulfilledCommands: false,
    }),
  () => new Cluster([{ host: "localhost", port: 7_000 }], { retryDelayOnFailover: 0 }),
  () => createClient({ url: "redis://localhost" }),
  () => createClient({ url: "redis://localhost", RESP: 2 }),
  () => createCluster({ rootNodes: [{ url: "redis://localhost:7000" }] }),
];

// @ts-expect-error Something else does not fit.
export const other: () => RedisClient = () => ({ get: () => "value" });
