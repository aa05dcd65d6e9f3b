/** The floor: what a bare group-commit loop in Node gets out of this disk. No checksums, no index, no reading. */
import { close, fdatasync, open, write } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { BODIES, closedLoop } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";

/** Everything appended while a write is under way becomes the next write, with one fdatasync. */
class GroupCommit {
  readonly #descriptor: number;
  readonly #sync: boolean;
  #gathering = Buffer.allocUnsafe(1 << 20);
  #spare = Buffer.allocUnsafe(1 << 20);
  #used = 0;
  #resolvers: (() => void)[] = [];
  #rejecters: ((error: Error) => void)[] = [];
  #writing = false;

  constructor(descriptor: number, sync: boolean) {
    this.#descriptor = descriptor;
    this.#sync = sync;
  }

  append(record: Buffer): Promise<void> {
    if (this.#used + record.length > this.#gathering.length) this.#grow();
    this.#gathering.set(record, this.#used);
    this.#used += record.length;
    return new Promise((resolve, reject) => {
      this.#resolvers.push(resolve);
      this.#rejecters.push(reject);
      if (!this.#writing) {
        this.#writing = true;
        queueMicrotask(this.#write);
      }
    });
  }

  #grow() {
    const larger = Buffer.allocUnsafe(this.#gathering.length * 2);
    larger.set(this.#gathering);
    this.#gathering = larger;
  }

  readonly #write = () => {
    const full = this.#gathering;
    const length = this.#used;
    const resolvers = this.#resolvers;
    const rejecters = this.#rejecters;
    this.#gathering = this.#spare;
    this.#spare = full;
    this.#used = 0;
    this.#resolvers = [];
    this.#rejecters = [];
    const done = (error: Error | null) => {
      if (error !== null) for (const reject of rejecters) reject(error);
      else for (const resolve of resolvers) resolve();
      if (this.#used > 0) this.#write();
      else this.#writing = false;
    };
    write(this.#descriptor, full, 0, length, null, (error) => {
      if (error !== null || !this.#sync) done(error);
      else fdatasync(this.#descriptor, done);
    });
  };
}

export async function start({ directory, survives }: PeerOptions): Promise<Peer> {
  const path = join(directory, "floor");
  return {
    async publish(inFlight, durationMs) {
      const descriptor = await promisify(open)(path, "w");
      try {
        const log = new GroupCommit(descriptor, survives === "machine");
        return await closedLoop(inFlight, durationMs, (n) => log.append(BODIES[n % BODIES.length]!));
      } finally {
        await promisify(close)(descriptor);
        await rm(path);
      }
    },
    async close() {},
  };
}
