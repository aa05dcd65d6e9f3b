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
import { watchLease } from "../../shared/leases/lease-watch.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Listener } from "../listener.ts";
import type { LeaseCommands } from "./commands.ts";
import { LeaseOperations } from "./lease-operations.ts";
import { LeaseRow } from "./lease-row.ts";
import { base64, readTurnNotice } from "./operation.ts";

export interface LeaseSettings {
  readonly world: World;
  readonly commands: LeaseCommands;
  /** What the names of channels begin with. */
  readonly prefix: string;
  readonly survives: LeaseCapabilities["survives"];
}

/** Who waits asks again once a second, and is believed to wait for three times as long. */
const patienceMs = 3_000;
/** For so long others tell what changes once they have learnt that somebody watches. */
const watchedMs = 30_000;
/** Names that ended by themselves are taken out so often by whoever is at work. */
const sweepEveryMs = 10_000;

interface Described {
  readonly description: LeaseDescription;
  readonly nextEndMs: number;
  /** How long it is known yet that somebody watches. */
  readonly watchedMs: number;
}

/**
 * Leases in a table, a row for each name that somebody holds or waits for, by the server's clock. Who waits has a place in the row, and asks again now and then, by which the server knows that it is still
 * there. When its turn has come, it is granted the name by what frees it, if that is done in its own process; else it is notified, and asks again.
 */
export class RelationalLeases implements LeaseEngine {
  readonly capabilities: LeaseCapabilities;
  readonly #connection: DatabaseConnection;
  readonly #listener: Listener;
  readonly #world: World;
  readonly #commands: LeaseCommands;
  /** Where this engine hears that somebody's turn has come. */
  readonly #channel: string;
  readonly #watchChannel: string;
  readonly #operations: LeaseOperations;
  readonly #acquisitions: Acquisitions;
  readonly #ended = new AbortController();
  #listening: Promise<unknown> | undefined;
  #listens = false;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(
    connection: DatabaseConnection,
    listener: Listener,
    { world, commands, prefix, survives }: LeaseSettings,
  ) {
    this.#connection = connection;
    this.#commands = commands;
    this.#listener = listener;
    this.#world = world;
    const unique = world.random.uuid().replaceAll("-", "").slice(0, 20);
    this.#channel = `${prefix}_l_${unique}`;
    this.#watchChannel = `${prefix}_lw`;
    this.#operations = new LeaseOperations({
      connection,
      world,
      commands,
      channel: this.#channel,
      watchChannel: this.#watchChannel,
      offer: (name, holder) => this.#acquisitions.offer(name, holder),
    });
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
    const { signal } = options;
    signal?.throwIfAborted();
    if (asked.waitMs > 0 && !this.#listens) {
      this.#listening ??= this.#listen();
      await this.#listening;
      this.#listens = true;
      this.#throwIfClosed();
      signal?.throwIfAborted();
    }
    // Awaited, as a promise that is returned as it is takes three turns to be heard.
    return await this.#acquisitions.acquire(name, asked, signal);
  }

  async renew(lease: Lease, ttlMs: number = lease.ttlMs): Promise<Lease> {
    this.#throwIfClosed();
    const { name, holder, token } = lease;
    this.#checkName(name);
    validTtl(ttlMs, this.capabilities);
    const since = this.#now();
    const renewed = await this.#operations.run(name, ({ state }, now) =>
      state.renew(holder, Number(token), ttlMs, now),
    );
    if (renewed) return { name, holder, token, ttlMs, since };
    throw notHeld(lease);
  }

  async release(name: string, holder: string): Promise<void> {
    this.#throwIfClosed();
    this.#checkName(name);
    validText("holder", holder, 1, this.capabilities.nameBytesMax);
    this.#acquisitions.give(name, holder);
    await this.#release(name, holder, false);
  }

  async describe(name: string): Promise<LeaseDescription> {
    this.#throwIfClosed();
    this.#checkName(name);
    return (await this.#describe(name)).description;
  }

  async *watch(
    name: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<LeaseDescription> {
    this.#throwIfClosed();
    this.#checkName(name);
    const own = base64(name);
    const parts = {
      world: this.#world,
      describe: () => this.#glance(name),
      listen: (changed: () => void) =>
        this.#listener.listen(this.#watchChannel, (payload) => {
          if (payload === undefined || payload === own) changed();
        }),
      ended: this.#ended.signal,
    };
    yield* watchLease(parts, options.signal);
  }

  /** Nobody waits from now on. What is under way ends before it resolves, as far as the server answers soon. */
  async close(reason: TenonError): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    await this.#acquisitions.end(reason, () => this.#operations.idle());
  }

  async #ask(name: string, request: ValidRequest, waits: boolean): Promise<Answer> {
    const since = this.#now();
    const { holder, ttlMs } = request;
    const channel = this.#channel;
    const answer = await this.#operations.grant(name, ({ state }, now, handing) =>
      state.acquire(request, { waits, channel, patienceMs, token: handing.token }, now, handing),
    );
    this.#sweepNowAndThen();
    if (answer.type === "differs") throw differs(name, answer.does, answer.weight, answer.capacity, request);
    if (answer.type !== "granted") return answer;
    const { token, isNew } = answer;
    return { type: "granted", lease: { name, holder, token: BigInt(token), ttlMs, since }, isNew };
  }

  async #release(name: string, holder: string, placeOnly: boolean): Promise<void> {
    await this.#operations.giveUp(name, ({ state }, now, handing) => state.release(holder, placeOnly, now, handing));
  }

  /** For who watches: beforehand others learn that somebody does, and again now and then. */
  async #glance(name: string): Promise<Described> {
    const described = await this.#describe(name);
    if (this.#commands.stamped === undefined || described.watchedMs > watchedMs / 3) return described;
    await this.#operations.run(name, (row, now) => {
      row.watchedUntil = now + watchedMs;
    });
    return this.#describe(name);
  }

  async #describe(name: string): Promise<Described> {
    const values = [Buffer.from(name)];
    const [row] = await this.#connection.read("describing a lease", this.#commands.describe, values);
    const now = row!.now as number;
    const { state, watchedUntil = 0 } = LeaseRow.decode((row!.state as Buffer | null) ?? Buffer.alloc(0));
    const { holders, waiting } = state.describe(now);
    const nextEnd = Math.min(...holders.map(({ expiresAt }) => expiresAt));
    const nextEndMs = Math.max(1, nextEnd - now);
    return { description: { name, holders, waiting }, nextEndMs, watchedMs: watchedUntil - now };
  }

  /** Heard before the first place is asked for, so that no call of a turn is missed; what is missed later is asked for. */
  #listen(): Promise<unknown> {
    return this.#listener.listen(this.#channel, (payload) => {
      if (payload === undefined) this.#acquisitions.wakeAll();
      else {
        const { name, holder } = readTurnNotice(payload);
        this.#acquisitions.wake(name, holder);
      }
    });
  }

  #sweepNowAndThen(): void {
    const now = this.#world.clock.monotonic();
    if (now - this.#sweptAt < sweepEveryMs) return;
    this.#sweptAt = now;
    this.#connection
      .transaction("the end of leases", (transaction) => transaction.run(this.#commands.sweep))
      .catch(() => undefined);
  }

  #now(): LeaseInstant {
    return { monotonic: this.#world.clock.monotonic(), wall: this.#world.clock.now() };
  }

  #checkName(name: string): void {
    validText("the name of a lease", name, 1, this.capabilities.nameBytesMax);
  }

  #throwIfClosed(): void {
    this.#ended.signal.throwIfAborted();
  }
}
