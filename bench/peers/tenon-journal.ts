/** The journal of the embedded engine alone: one 200-byte record per waiting caller, nothing built on it. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Journal, type JournalState } from "../../src/engines/embedded/journal/journal.ts";
import { systemWorld } from "../../src/world/index.ts";
import { BODIES, closedLoop, MESSAGE_BYTES } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";

const RECORD_KIND = 1;

const nothingBuiltOnIt: JournalState = {
  loadFooter() {},
  replay() {},
  footer: () => new Uint8Array(0),
  snapshot() {},
  durable() {},
  failed() {},
};

export async function start({ directory, survives }: PeerOptions): Promise<Peer> {
  const world = systemWorld();
  const path = join(directory, "journal");
  return {
    async publish(inFlight, durationMs) {
      const durability = survives === "machine" ? "sync" : "async";
      const journal = await Journal.open({ world, directory: path, state: nothingBuiltOnIt, durability });
      try {
        return await closedLoop(inFlight, durationMs, (n) => {
          const from = journal.append(RECORD_KIND, MESSAGE_BYTES);
          journal.buffer.set(BODIES[n % BODIES.length]!, from);
          return journal.durable();
        });
      } finally {
        await journal.close();
        await rm(path, { recursive: true });
      }
    },
    async close() {},
  };
}
