import type { World } from "../../../world/world.ts";
import type { EtcdConnection } from "../connection.ts";
import type { LeaseReply } from "../wire.ts";

/** Keys that end within the same time share a lease, at the price of so much lateness. */
const sharedMs = 500;
/** Leases are remembered for as long as keys may come that end with them. */
const rememberedMax = 256;
/** etcd takes no longer one. */
const secondsMax = 9_000_000_000;

/** Leases of etcd that end keys. A lease ends no earlier than any key that it was taken for. */
export class ExpiryLeases {
  readonly #connection: EtcdConnection;
  readonly #world: World;
  readonly #leases = new Map<number, Promise<string>>();

  constructor(connection: EtcdConnection, world: World) {
    this.#connection = connection;
    this.#world = world;
  }

  async take(ttlMs: number): Promise<string> {
    const end = Math.ceil((this.#world.clock.monotonic() + ttlMs) / sharedMs);
    const known = this.#leases.get(end);
    if (known !== undefined) return known;
    const granting = this.#grant(end * sharedMs - this.#world.clock.monotonic());
    this.#leases.set(end, granting);
    if (this.#leases.size > rememberedMax) this.#leases.delete(this.#leases.keys().next().value!);
    try {
      return await granting;
    } catch (error) {
      if (this.#leases.get(end) === granting) this.#leases.delete(end);
      throw error;
    }
  }

  /** One of them was gone: etcd has lost it, or its time came before it was used. */
  forget(): void {
    this.#leases.clear();
  }

  async #grant(ttlMs: number): Promise<string> {
    const seconds = Math.min(secondsMax, Math.ceil(ttlMs / 1_000));
    // A lease without keys is harmless: granting is repeated as reads are.
    const { ID } = await this.#connection.read<LeaseReply>("granting a lease", "lease/grant", { TTL: String(seconds) });
    return ID;
  }
}
