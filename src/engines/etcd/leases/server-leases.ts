import type { World } from "../../../world/world.ts";
import type { EtcdConnection } from "../connection.ts";
import type { LeaseReply } from "../wire.ts";

/** A lease of etcd that nothing is attached to, and until when it surely lives. */
interface Idle {
  readonly id: string;
  readonly until: number;
}

const idleMax = 64;

/** Leases of etcd for grants. One whose grant was released serves the next grant with the same time to live, which spares etcd a write. */
export class ServerLeases {
  readonly #connection: EtcdConnection;
  readonly #world: World;
  readonly #idle = new Map<number, Idle[]>();

  constructor(connection: EtcdConnection, world: World) {
    this.#connection = connection;
    this.#world = world;
  }

  /** A lease with all of its time before it, from the call on. */
  async take(ttlMs: number): Promise<string> {
    const seconds = secondsOf(ttlMs);
    const idle = this.#idle.get(seconds) ?? [];
    for (let next = idle.pop(); next !== undefined; next = idle.pop()) {
      if (next.until > this.#world.clock.monotonic() && (await this.keepAlive(next.id))) return next.id;
    }
    // A lease without keys is harmless: granting is repeated as reads are.
    const { ID } = await this.#connection.read<LeaseReply>("granting a lease", "lease/grant", { TTL: String(seconds) });
    return ID;
  }

  /** Nothing is attached to it any more, surely. `takenAt`: by the monotonic clock. */
  giveBack(id: string, ttlMs: number, takenAt: number): void {
    const seconds = secondsOf(ttlMs);
    const idle = this.#idle.get(seconds) ?? [];
    this.#idle.set(seconds, idle);
    if (idle.length < idleMax) idle.push({ id, until: takenAt + seconds * 1_000 });
    else this.revoke(id);
  }

  /** Its full time again; false when it has ended. */
  async keepAlive(id: string): Promise<boolean> {
    const reply = await this.#connection.read<{ result?: LeaseReply }>("keeping a lease", "lease/keepalive", {
      ID: id,
    });
    return Number(reply.result?.TTL ?? 0) > 0;
  }

  /** Whatever is attached to it goes with it. */
  revoke(id: string): void {
    this.#connection.read("revoking a lease", "lease/revoke", { ID: id }).catch(() => undefined);
  }

  /** What is idle goes, so that etcd need not keep it until its end. */
  close(): void {
    for (const idle of this.#idle.values()) for (const { id } of idle) this.revoke(id);
    this.#idle.clear();
  }
}

export function secondsOf(ttlMs: number): number {
  return Math.ceil(ttlMs / 1_000);
}
