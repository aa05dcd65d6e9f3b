/**
 * Locks on etcd by hand, over its JSON API: no client for Node is maintained. A lock of one's own is a key, made in a transaction that finds it missing and attached to
 * a lease of etcd; where callers wait for each other it is etcd's own lock service, which keeps a queue of keys. One lease for each caller, that lasts.
 */
import { timedLockLoop, type UseLock } from "../lock-loops.ts";
import type { Peer, PeerOptions } from "../peer.ts";

const TTL_SECONDS = 60;

export async function start({ server }: PeerOptions): Promise<Peer> {
  const { url, prefix } = server!;
  const ask = async (path: string, body: object): Promise<Record<string, unknown>> => {
    const response = await fetch(`${url}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd answered ${response.status} to ${path}`);
    return (await response.json()) as Record<string, unknown>;
  };
  const base64 = (text: string) => Buffer.from(text).toString("base64");
  let leases: Promise<string>[] = [];
  const grant = (): Promise<string> => {
    const lease = ask("lease/grant", { TTL: TTL_SECONDS }).then(({ ID }) => ID as string);
    leases.push(lease);
    return lease;
  };

  const own = (name: string): UseLock => {
    const key = base64(`${prefix}/${name}`);
    const granted = grant();
    return async () => {
      const { succeeded } = await ask("kv/txn", {
        compare: [{ key, target: "CREATE", result: "EQUAL", create_revision: "0" }],
        success: [{ request_put: { key, lease: await granted } }],
      });
      if (succeeded !== true) throw new Error("somebody else has the lock");
      await ask("kv/deleterange", { key });
    };
  };
  const shared = (name: string): UseLock => {
    const granted = grant();
    return async () => {
      const { key } = await ask("lock/lock", { name: base64(`${prefix}/${name}`), lease: await granted });
      await ask("lock/unlock", { key });
    };
  };

  return {
    async lock(contention, durationMs) {
      try {
        return await timedLockLoop(contention, durationMs, contention.locks === "own" ? own : shared);
      } finally {
        for (const lease of leases) await ask("lease/revoke", { ID: await lease });
        leases = [];
      }
    },
    async close() {},
  };
}
