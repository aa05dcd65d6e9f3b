import type { Cancel, Disk, DiskFile, DiskLock, Timers, World } from "tenon/world";

/**
 * A world that can end like a killed process, while the test that holds it lives on: from then on no call settles, no timer
 * fires, files and locks are free again, and what the operating system was already doing is done to its end.
 */
export interface MortalWorld extends World {
  die(): Promise<void>;
}

export function mortalWorld(world: World): MortalWorld {
  const life = new Life();
  return {
    clock: world.clock,
    random: world.random,
    network: world.network,
    log: world.log,
    timers: mortalTimers(world.timers, life),
    disk: mortalDisk(world.disk, life),
    die: () => life.end(),
  };
}

const never = new Promise<never>(() => undefined);

class Life {
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #cancels = new Set<Cancel>();
  readonly #open = new Set<DiskFile | DiskLock>();
  #ended = false;

  /** What a call answers, if the process lives to hear it. */
  async hears<T>(start: () => Promise<T>): Promise<T> {
    if (this.#ended) return never;
    const call = start();
    this.#underWay.add(call);
    try {
      const answer = await call;
      return this.#ended ? never : answer;
    } catch (error) {
      if (this.#ended) return never;
      throw error;
    } finally {
      this.#underWay.delete(call);
    }
  }

  schedule(timers: Timers, ms: number, fn: () => void): Cancel {
    if (this.#ended) return () => undefined;
    const forget = timers.schedule(ms, () => {
      this.#cancels.delete(forget);
      fn();
    });
    this.#cancels.add(forget);
    return () => {
      this.#cancels.delete(forget);
      forget();
    };
  }

  holds(resource: DiskFile | DiskLock): void {
    this.#open.add(resource);
  }

  frees(resource: DiskFile | DiskLock): void {
    this.#open.delete(resource);
  }

  async end(): Promise<void> {
    this.#ended = true;
    for (const cancel of this.#cancels) cancel();
    await Promise.allSettled(this.#underWay);
    for (const resource of this.#open) await ("close" in resource ? resource.close() : resource.release());
  }
}

function mortalTimers(timers: Timers, life: Life): Timers {
  return {
    schedule: (ms, fn) => life.schedule(timers, ms, fn),
    sleep(ms, { signal } = {}) {
      return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const cancel = life.schedule(timers, ms, () => {
          signal?.removeEventListener("abort", abort);
          resolve();
        });
        const abort = () => {
          cancel();
          reject(signal?.reason);
        };
        signal?.addEventListener("abort", abort, { once: true });
      });
    },
  };
}

function mortalDisk(disk: Disk, life: Life): Disk {
  return {
    rename: (from, to) => life.hears(() => disk.rename(from, to)),
    remove: (path) => life.hears(() => disk.remove(path)),
    list: (directory) => life.hears(() => disk.list(directory)),
    stat: (path) => life.hears(() => disk.stat(path)),
    makeDirectory: (path) => life.hears(() => disk.makeDirectory(path)),
    syncDirectory: (path) => life.hears(() => disk.syncDirectory(path)),
    freeSpace: (path) => life.hears(() => disk.freeSpace(path)),
    open: (path, mode) =>
      life.hears(async () => {
        const file = await disk.open(path, mode);
        life.holds(file);
        return mortalFile(file, life);
      }),
    lock: (path, owner) =>
      life.hears(async () => {
        const lock = await disk.lock(path, owner);
        if ("heldBy" in lock) return lock;
        life.holds(lock);
        return {
          release: () =>
            life.hears(async () => {
              life.frees(lock);
              await lock.release();
            }),
        };
      }),
  };
}

function mortalFile(file: DiskFile, life: Life): DiskFile {
  return {
    path: file.path,
    get sizeBytes() {
      return file.sizeBytes;
    },
    append: (bytes) => life.hears(() => file.append(bytes)),
    read: (position, into) => life.hears(() => file.read(position, into)),
    sync: () => life.hears(() => file.sync()),
    truncate: (sizeBytes) => life.hears(() => file.truncate(sizeBytes)),
    rewrite: (position, bytes) => life.hears(() => file.rewrite(position, bytes)),
    close: () =>
      life.hears(async () => {
        life.frees(file);
        await file.close();
      }),
  };
}
