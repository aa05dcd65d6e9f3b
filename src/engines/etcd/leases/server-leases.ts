import type { LeaseInstant } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import type { EtcdConnection } from "../connection.ts";
import type { LeaseReply } from "../wire.ts";

/** A lease of etcd. */
export interface ServerLease {
  readonly id: string;
  readonly seconds: number;
  /** Our clocks before the last request was sent that let its time begin anew. */
  since: LeaseInstant;
}

const idleMax = 64;

/**
 * Leases of etcd for grants. One whose grant was released serves the next grant with the same time to live, which spares etcd a write. It lasts a second longer than the grant,
 * so that it need not be renewed before each.
 */
export class ServerLeases {
  readonly #connection: EtcdConnection;
  readonly #world: World;
  /** By seconds; the one that was used last comes last. */
  readonly #idle = new Map<number, ServerLease[]>();

  constructor(connection: EtcdConnection, world: World) {
    this.#connection = connection;
    this.#world = world;
  }

  /** One that lasts for the time to live, counted from `since`, which is now. */
  async take(ttlMs: number, since: LeaseInstant): Promise<ServerLease> {
    const seconds = secondsFor(ttlMs);
    const idle = this.#idle.get(seconds) ?? [];
    for (let next = idle.pop(); next !== undefined; next = idle.pop()) {
      if (lasts(next, ttlMs, since)) return next;
      if (lasts(next, 0, since) && (await this.keepAlive(next))) return next;
    }
    return this.make(seconds);
  }

  async make(seconds: number): Promise<ServerLease> {
    const since = instant(this.#world);
    // A lease without keys is harmless: granting is repeated as reads are.
    const { ID } = await this.#connection.read<LeaseReply>("granting a lease", "lease/grant", { TTL: String(seconds) });
    return { id: ID, seconds, since };
  }

  /** Nothing is attached to it any more, surely. */
  giveBack(lease: ServerLease): void {
    const idle = this.#idle.get(lease.seconds) ?? [];
    this.#idle.set(lease.seconds, idle);
    if (idle.length < idleMax) idle.push(lease);
    else void this.revoke(lease);
  }

  /** Its full time again; false when it has ended. */
  async keepAlive(lease: ServerLease): Promise<boolean> {
    const since = instant(this.#world);
    const reply = await this.#connection.read<{ result?: LeaseReply }>("keeping a lease", "lease/keepalive", {
      ID: lease.id,
    });
    if (Number(reply.result?.TTL ?? 0) <= 0) return false;
    if (since.monotonic > lease.since.monotonic) lease.since = since;
    return true;
  }

  /** Whatever is attached to it goes with it. Never rejects. */
  async revoke({ id }: ServerLease): Promise<void> {
    await this.#connection.read("revoking a lease", "lease/revoke", { ID: id }).catch(() => undefined);
  }

  /** What is idle goes, so that etcd need not keep it until its end. */
  async close(): Promise<void> {
    const idle = [...this.#idle.values()].flat();
    this.#idle.clear();
    await Promise.all(idle.map((lease) => this.revoke(lease)));
  }
}

export function instant({ clock }: World): LeaseInstant {
  return { monotonic: clock.monotonic(), wall: clock.now() };
}

/** By whichever clock has gone further: monotonic time stands still while a machine sleeps, and wall time may be set back. */
export function elapsedMs(from: LeaseInstant, to: LeaseInstant): number {
  return Math.max(to.monotonic - from.monotonic, to.wall - from.wall);
}

/** Whether it surely lasts for that time from `from` on. */
export function lasts({ seconds, since }: ServerLease, ms: number, from: LeaseInstant): boolean {
  return elapsedMs(since, from) + ms <= seconds * 1_000;
}

/** Of the lease of etcd for a grant: whole seconds, and one more. */
export function secondsFor(ttlMs: number): number {
  return Math.ceil(ttlMs / 1_000) + 1;
}
