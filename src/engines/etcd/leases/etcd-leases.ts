import type { TenonError } from "../../../contracts/errors.ts";
import { type ValidRequest, validRequest, validText, validTtl } from "../../../contracts/lease-requests.ts";
import type {
  Lease,
  LeaseCapabilities,
  LeaseDescription,
  LeaseEngine,
  LeaseRequest,
} from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import { Acquisitions, notHeld } from "../../shared/leases/acquisitions.ts";
import { watchLease } from "../../shared/leases/lease-watch.ts";
import { waitAtMost } from "../../shared/wait-at-most.ts";
import type { EtcdConnection } from "../connection.ts";
import { EventStream } from "../event-stream.ts";
import { asRead } from "../failures.ts";
import { revisionOf } from "../wire.ts";
import { Grants } from "./grants.ts";
import { describeHolder, LeasedName } from "./lease-names.ts";
import { LeaseStore } from "./lease-store.ts";

export interface LeaseSettings {
  readonly world: World;
  readonly prefix: string;
  readonly survives: LeaseCapabilities["survives"];
  /** The shortest lease of etcd. */
  readonly leaseMsMin: number;
  /** Of one transaction. */
  readonly operationsMax: number;
}

const idleMs = 1_000;
/** How long closing may take to give places up. */
const closeMs = 1_000;
/** How many places are taken in one transaction at most. */
const placesMax = 32;

/**
 * Leases as keys of etcd, each attached to a lease of etcd of its own, which ends it by the clock of etcd's leader. Who waits has a key in the name's queue; whoever is first in it, by create
 * revision, and fits in takes the name in one transaction with leaving the queue.
 */
export class EtcdLeases implements LeaseEngine {
  readonly capabilities: LeaseCapabilities;
  readonly #connection: EtcdConnection;
  readonly #world: World;
  readonly #prefix: string;
  readonly #store: LeaseStore;
  readonly #grants: Grants;
  readonly #acquisitions: Acquisitions;
  readonly #ended = new AbortController();

  constructor(connection: EtcdConnection, { world, prefix, survives, leaseMsMin, operationsMax }: LeaseSettings) {
    this.#connection = connection;
    this.#world = world;
    this.#prefix = prefix;
    this.#store = new LeaseStore(connection);
    this.#grants = new Grants({
      connection,
      store: this.#store,
      world,
      // Each is an operation, and two look at the name.
      placesMax: Math.min(placesMax, operationsMax - 2),
      wake: (name, holder) => this.#acquisitions.wake(name, holder),
    });
    this.#acquisitions = new Acquisitions({
      world,
      asking: (name) => {
        const leased = this.#nameOf(name);
        return (request, waits, isOver) => this.#grants.ask(leased, request, waits, isOver);
      },
      leave: (name, holder, what) => this.#leave(this.#nameOf(name), holder, what),
    });
    this.capabilities = {
      survives,
      fifo: true,
      counted: true,
      // Leases of etcd last whole seconds, and are looked at twice a second.
      expiryLatenessMs: leaseMsMin + 1_000,
      ttlMsMin: 1,
      ttlMsMax: 2 ** 31 - 1,
      nameBytesMax: 1_024,
      dataBytesMax: 4_096,
    };
  }

  async acquire(
    name: string,
    request: LeaseRequest,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Lease | undefined> {
    this.#throwIfClosed();
    this.#checkName(name);
    const asked: ValidRequest = validRequest(request, this.capabilities);
    options.signal?.throwIfAborted();
    return this.#acquisitions.acquire(name, asked, options.signal);
  }

  async renew(lease: Lease, ttlMs: number = lease.ttlMs): Promise<Lease> {
    this.#throwIfClosed();
    this.#checkName(lease.name);
    validTtl(ttlMs, this.capabilities);
    const since = await this.#grants.renew(this.#nameOf(lease.name), lease, ttlMs);
    if (since === undefined) throw notHeld(lease);
    const { name, holder, token } = lease;
    return { name, holder, token, ttlMs, since };
  }

  async release(name: string, holder: string): Promise<void> {
    this.#throwIfClosed();
    this.#checkName(name);
    validText("holder", holder, 1, this.capabilities.nameBytesMax);
    this.#acquisitions.give(name, holder);
    await this.#grants.release(this.#nameOf(name), holder);
  }

  async describe(name: string): Promise<LeaseDescription> {
    this.#throwIfClosed();
    this.#checkName(name);
    return this.#describe(this.#nameOf(name));
  }

  async #describe(name: LeasedName): Promise<LeaseDescription> {
    const { holders, waiting } = await this.#store.look(name).catch(asRead);
    return { name: name.name, holders: holders.map(describeHolder), waiting };
  }

  async *watch(
    name: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<LeaseDescription> {
    this.#throwIfClosed();
    this.#checkName(name);
    const leased = this.#nameOf(name);
    const parts = {
      world: this.#world,
      describe: async () => ({ description: await this.#describe(leased), nextEndMs: idleMs }),
      listen: (changed: () => void) => this.#listen(leased, changed),
      ended: this.#ended.signal,
    };
    yield* watchLease(parts, options.signal);
  }

  /** Only to be woken: what there is is looked at, at the latest a second later. */
  async #listen(name: LeasedName, changed: () => void): Promise<() => Promise<void>> {
    let heard: number | undefined;
    const stream = new EventStream({
      world: this.#world,
      connection: this.#connection,
      range: name.holders,
      // Zero means from now on.
      from: () => (heard === undefined ? 0 : heard + 1),
      heard: ({ events = [], header }) => {
        heard = Number(events.at(-1)?.kv.mod_revision ?? Math.max(heard ?? 0, revisionOf(header)));
        changed();
      },
      missed: () => {
        heard = undefined;
        changed();
        if (!this.#ended.signal.aborted) void stream.run();
      },
      failed: changed,
    });
    const end = (): void => stream.end();
    this.#ended.signal.addEventListener("abort", end);
    void stream.run();
    return async () => {
      this.#ended.signal.removeEventListener("abort", end);
      end();
    };
  }

  /** Nobody waits from now on. What is under way ends before it resolves, as far as the server answers soon. */
  async close(reason: TenonError): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    await this.#acquisitions.end(reason, () => this.#grants.idle());
    await waitAtMost(this.#world, closeMs, this.#grants.close());
  }

  async #leave(name: LeasedName, holder: string, what: "place" | "all"): Promise<void> {
    // All places go together when the engine closes.
    if (what === "all" || !this.#ended.signal.aborted) await this.#grants.leave(name, holder, what);
  }

  #nameOf(name: string): LeasedName {
    return new LeasedName(this.#prefix, name);
  }

  #checkName(name: string): void {
    validText("the name of a lease", name, 1, this.capabilities.nameBytesMax);
  }

  #throwIfClosed(): void {
    this.#ended.signal.throwIfAborted();
  }
}
