/**
 * ZooKeeper's lock recipe by hand, over its protocol: no client for Node is maintained. An ephemeral sequential node in the lock's directory; whoever has the lowest has
 * the lock, and each other one watches its predecessor. A session for each caller would be no faster: all share one.
 */
import { timedLockLoop } from "../lock-loops.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { BareZookeeper } from "../zookeeper-client.ts";

export async function start({ server }: PeerOptions): Promise<Peer> {
  const client = await BareZookeeper.open(server!.url);
  const root = `/${server!.prefix}`;
  await client.make(root);

  const acquire = async (directory: string): Promise<string> => {
    const path = await client.makeEphemeralSequential(`${directory}/lock-`);
    const mine = path.slice(directory.length + 1);
    for (;;) {
      const before = (await client.children(directory)).filter((name) => name < mine).sort();
      if (before.length === 0) return path;
      await client.untilGone(`${directory}/${before.at(-1)}`);
    }
  };

  return {
    async lock(contention, durationMs) {
      const directories = new Map<string, Promise<void>>();
      try {
        return await timedLockLoop(contention, durationMs, (name) => {
          const directory = `${root}/${name}`;
          const made = directories.get(directory) ?? client.make(directory);
          directories.set(directory, made);
          return async () => {
            await made;
            await client.remove(await acquire(directory));
          };
        });
      } finally {
        await Promise.all([...directories.keys()].map((directory) => client.remove(directory)));
      }
    },
    async close() {
      await client.remove(root);
      client.close();
    },
  };
}
