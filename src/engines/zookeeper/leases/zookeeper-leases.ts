import type { TenonError } from "../../../contracts/errors.ts";
import { type ValidRequest, validRequest, validText, validTtl } from "../../../contracts/lease-requests.ts";
import type {
  Lease,
  LeaseCapabilities,
  LeaseDescription,
  LeaseEngine,
  LeaseInstant,
  LeaseRequest,
} from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import type { Answer } from "../../shared/leases/acquisition.ts";
import { Acquisitions, differs, notHeld } from "../../shared/leases/acquisitions.ts";
import { LeaseState } from "../../shared/leases/lease-state.ts";
import { watchLease } from "../../shared/leases/lease-watch.ts";
import type { ZookeeperConnection } from "../connection.ts";
import { asRead } from "../failures.ts";
import { NodeWatches } from "../node-watches.ts";
import type { Nodes } from "../nodes.ts";
import type { ZookeeperAcl } from "../protocol.ts";
import { KnownNames } from "./known-names.ts";
import { LeaseOperations } from "./lease-operations.ts";
import { NameNodes } from "./name-nodes.ts";
import { stateOf } from "./name-record.ts";
import { ServerClock } from "./server-clock.ts";
import { Sweeper } from "./sweeper.ts";
import { Turns } from "./turns.ts";

export interface LeaseSettings {
  readonly world: World;
  readonly nodes: Nodes;
  readonly acls: readonly ZookeeperAcl[];
  readonly survives: LeaseCapabilities["survives"];
}

/** Who waits asks again once a second, and is believed to wait for three times as long. */
const patienceMs = 3_000;

/**
 * Leases in nodes, one for each name, by the clock of ZooKeeper's leader. Who waits has a place in the node, watches it, and asks again now and then, by which everybody knows that it is
 * still there. Nothing hangs on sessions.
 */
export class ZookeeperLeases implements LeaseEngine {
  readonly capabilities: LeaseCapabilities;
  readonly #connection: ZookeeperConnection;
  readonly #world: World;
  readonly #nodes: Nodes;
  readonly #clock: ServerClock;
  readonly #names: NameNodes;
  readonly #operations: LeaseOperations;
  readonly #watches: NodeWatches;
  readonly #turns: Turns;
  readonly #sweeper: Sweeper;
  readonly #acquisitions: Acquisitions;
  readonly #ended = new AbortController();

  constructor(connection: ZookeeperConnection, { world, nodes, acls, survives }: LeaseSettings) {
    this.#connection = connection;
    this.#world = world;
    this.#nodes = nodes;
    const clock = new ServerClock(world);
    this.#clock = clock;
    const names = new NameNodes({ connection, nodes, clock, acls });
    this.#names = names;
    const known = new KnownNames(world.clock);
    // Another server may be one that was restored.
    connection.onConnected(() => known.forgetAll());
    const watches = new NodeWatches(connection, world);
    this.#watches = watches;
    const wake = (name: string, holder: string) => this.#acquisitions.wake(name, holder);
    const turns = new Turns({ nodes, watches, known, clock, wake });
    this.#turns = turns;
    this.#operations = new LeaseOperations({ world, names, known, clock, turns });
    this.#sweeper = new Sweeper(connection, world, nodes, clock);
    this.#acquisitions = new Acquisitions({
      world,
      asking: (name) => (request, waits) => this.#ask(name, request, waits),
      leave: (name, holder, what) => this.#release(name, holder, what === "place"),
    });
    this.capabilities = {
      survives,
      fifo: true,
      counted: true,
      expiryLatenessMs: 1_000,
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
    const asked = validRequest(request, this.capabilities);
    options.signal?.throwIfAborted();
    return this.#acquisitions.acquire(name, asked, options.signal);
  }

  async renew(lease: Lease, ttlMs: number = lease.ttlMs): Promise<Lease> {
    this.#throwIfClosed();
    const { name, holder, token } = lease;
    this.#checkName(name);
    this.#checkHolder(holder);
    validTtl(ttlMs, this.capabilities);
    const since = this.#now();
    const renewed = await this.#operations.run(name, { type: "renew", holder, token: Number(token), ttlMs });
    if (renewed) return { name, holder, token, ttlMs, since };
    throw notHeld(lease);
  }

  async release(name: string, holder: string): Promise<void> {
    this.#throwIfClosed();
    this.#checkName(name);
    this.#checkHolder(holder);
    this.#acquisitions.give(name, holder);
    await this.#release(name, holder, false);
  }

  async describe(name: string): Promise<LeaseDescription> {
    this.#throwIfClosed();
    this.#checkName(name);
    const { known, now } = await this.#names.look(name).catch(asRead);
    return { name, ...LeaseState.decode(known.state).describe(now) };
  }

  async *watch(
    name: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<LeaseDescription> {
    this.#throwIfClosed();
    this.#checkName(name);
    // The clock is known from then on.
    await this.#names.look(name).catch(asRead);
    const parts = {
      world: this.#world,
      describe: () => this.#glance(name),
      listen: async (changed: () => void) => {
        const end = this.#watches.listen(this.#nodes.pathOf(name), changed);
        return async () => end();
      },
      ended: this.#ended.signal,
    };
    yield* watchLease(parts, options.signal);
  }

  /** What the server at hand knows; it may be a little behind, and is asked again when it has come further. */
  async #glance(name: string): Promise<{ readonly description: LeaseDescription; readonly nextEndMs: number }> {
    const node = await this.#connection
      .call("describing a lease", "not-applied", (session) => session.getData(this.#nodes.pathOf(name)))
      .catch(asRead);
    const now = this.#clock.notLaterThan;
    const { holders, waiting } = stateOf(node).describe(now);
    const nextEnd = Math.min(...holders.map(({ expiresAt }) => expiresAt));
    return { description: { name, holders, waiting }, nextEndMs: Math.max(1, nextEnd - now) };
  }

  /** Nobody waits from now on. What is under way ends before it resolves, as far as the server answers soon. */
  async close(reason: TenonError): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    const ended = this.#acquisitions.end(reason, () => this.#operations.idle());
    this.#watches.close();
    this.#sweeper.close();
    await ended;
  }

  async #ask(name: string, request: ValidRequest, waits: boolean): Promise<Answer> {
    const since = this.#now();
    const { holder, ttlMs } = request;
    let isWaiting = false;
    try {
      const answer = await this.#operations.run(name, { type: "acquire", request, waits, patienceMs });
      if (answer.type === "differs") throw differs(name, answer.does, answer.weight, answer.capacity, request);
      isWaiting = answer.type === "waiting";
      if (answer.type !== "granted") return answer;
      const { token, isNew } = answer;
      return { type: "granted", lease: { name, holder, token: BigInt(token), ttlMs, since }, isNew };
    } finally {
      if (isWaiting && !this.#ended.signal.aborted) this.#turns.follow(name, holder);
      else this.#turns.leave(name, holder);
    }
  }

  async #release(name: string, holder: string, placeOnly: boolean): Promise<void> {
    this.#turns.leave(name, holder);
    await this.#operations.run(name, { type: "release", holder, placeOnly });
  }

  #now(): LeaseInstant {
    return { monotonic: this.#world.clock.monotonic(), wall: this.#world.clock.now() };
  }

  #checkName(name: string): void {
    validText("the name of a lease", name, 1, this.capabilities.nameBytesMax);
  }

  #checkHolder(holder: string): void {
    validText("holder", holder, 1, this.capabilities.nameBytesMax);
  }

  #throwIfClosed(): void {
    this.#ended.signal.throwIfAborted();
  }
}
