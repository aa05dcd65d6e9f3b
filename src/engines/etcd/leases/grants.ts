import { TenonError } from "../../../contracts/errors.ts";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Lease, LeaseInstant } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import type { Answer } from "../../shared/leases/acquisition.ts";
import { differs } from "../../shared/leases/acquisitions.ts";
import type { EtcdConnection } from "../connection.ts";
import { isLeaseGone } from "../failures.ts";
import type { HolderKey, LeasedName } from "./lease-names.ts";
import { fits, type LeaseStore } from "./lease-store.ts";
import { Presence } from "./presence.ts";
import { ServerLeases, secondsOf } from "./server-leases.ts";
import { Turns } from "./turns.ts";

/** A lease of etcd under which a grant of this engine stands. */
interface Own {
  readonly token: bigint;
  readonly lease: string;
  readonly ttlMs: number;
  readonly takenAt: number;
}

/** How often a question is asked anew because the name changed meanwhile, and the longest pause in between. */
const attemptsMax = 50;
const pauseMsMax = 20;
const askAgainMs = 1_000;
const retryMs = { first: 100, longest: 2_000 };

/** What this engine's holders ask of etcd; for one holder of a name one thing after the other. */
export class Grants {
  readonly #store: LeaseStore;
  readonly #world: World;
  readonly #leases: ServerLeases;
  readonly #turns: Turns;
  readonly #presence: Presence;
  /** By name and holder. */
  readonly #own = new Map<string, Own>();
  readonly #sequence = new Map<string, Promise<unknown>>();
  /** Names that somebody of ours is about to take: others who would wait stand in line, rather than meet it. */
  readonly #granting = new Set<string>();
  #closed = false;

  constructor(
    connection: EtcdConnection,
    store: LeaseStore,
    world: World,
    wake: (name: string, holder: string) => void,
  ) {
    this.#store = store;
    this.#world = world;
    this.#leases = new ServerLeases(connection, world);
    this.#turns = new Turns({ world, connection, store, wake });
    this.#presence = new Presence(world, this.#leases, this.#turns);
  }

  async ask(name: LeasedName, request: ValidRequest, waits: boolean, isOver: () => boolean): Promise<Answer> {
    const { holder } = request;
    if (waits && this.#turns.needsNoLook(name.name, holder)) return { type: "waiting", askAgainMs };
    let answer: Answer | undefined;
    try {
      answer = await this.#inTurn(name, holder, () => this.#ask(name, request, waits, isOver));
      return answer;
    } catch (error) {
      // A place whose confirmation was lost would stand in everybody's way.
      if (error instanceof TenonError && error.outcome === "unknown") void this.#leaveSurely(name, holder);
      throw error;
    } finally {
      if (answer?.type !== "waiting") this.#turns.leave(name.name, holder);
    }
  }

  async #ask(name: LeasedName, request: ValidRequest, waits: boolean, isOver: () => boolean): Promise<Answer> {
    const { holder } = request;
    let stands = false;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      // Whoever has a place when nobody waits any more is told so, and gives it up.
      if (isOver()) return stands ? { type: "waiting", askAgainMs } : { type: "refused" };
      const since = this.#now();
      const seen = await this.#store.lookFor(name, holder);
      const { holders, first, revision } = seen.snapshot;
      const own = holders.find((each) => each.holder === holder);
      if (own !== undefined) {
        if (isOther(own, request)) throw differs(name.name, "owns", own.weight, own.capacity, request);
        const changed = { ...own, data: request.data };
        if (await this.#extend(name, changed, request.ttlMs, since))
          return granted(name, request, own.token, since, false);
        continue;
      }
      const { place } = seen;
      if (place !== undefined && isOther(place, request)) {
        throw differs(name.name, "waits for", place.weight, place.capacity, request);
      }
      const isFirst = first === undefined ? !(waits && this.#granting.has(name.name)) : first.holder === holder;
      if (isFirst && fits(holders, request)) {
        const answer = await this.#grant(name, request, seen);
        if (answer !== undefined) return answer;
        await this.#pause();
        continue;
      }
      if (!waits) return { type: "refused" };
      const lease = await this.#presence.lease();
      if (place?.lease === lease) {
        this.#turns.follow(name, holder, revision);
        return { type: "waiting", askAgainMs };
      }
      stands = true;
      try {
        await this.#store.standInLine(name, request, lease);
      } catch (error) {
        if (!isLeaseGone(error)) throw error;
        this.#presence.lost();
      }
    }
    const text = `${name.name} changed hands each of the ${attemptsMax} times that it was asked for; nothing was taken. Try again.`;
    throw new TenonError("overloaded", text, { fields: { name: name.name, attempts: attemptsMax } });
  }

  async #grant(
    name: LeasedName,
    request: ValidRequest,
    seen: Awaited<ReturnType<LeaseStore["lookFor"]>>,
  ): Promise<Answer | undefined> {
    this.#granting.add(name.name);
    try {
      return await this.#take(name, request, seen);
    } finally {
      this.#granting.delete(name.name);
    }
  }

  async #take(
    name: LeasedName,
    request: ValidRequest,
    seen: Awaited<ReturnType<LeaseStore["lookFor"]>>,
  ): Promise<Answer | undefined> {
    const { holder, ttlMs } = request;
    const since = this.#now();
    const lease = await this.#leases.take(ttlMs);
    const expiresAt = this.#world.clock.now() + ttlMs;
    let token: bigint | undefined;
    try {
      token = await this.#store.grant(name, request, seen, { lease, expiresAt });
    } catch (error) {
      // It ended between the two; nothing was granted.
      if (isLeaseGone(error)) return undefined;
      throw error;
    }
    if (token === undefined) {
      this.#leases.giveBack(lease, ttlMs, since.monotonic);
      return undefined;
    }
    this.#own.set(keyOf(name, holder), { token, lease, ttlMs, takenAt: since.monotonic });
    return granted(name, request, token, since, true);
  }

  /** Since when it may be relied on anew; `undefined` when it is lost. */
  async renew(name: LeasedName, { holder, token }: Lease, ttlMs: number): Promise<LeaseInstant | undefined> {
    return this.#inTurn(name, holder, async () => {
      const since = this.#now();
      const { holders } = await this.#store.look(name);
      const own = holders.find((each) => each.holder === holder && each.token === token);
      return own !== undefined && (await this.#extend(name, own, ttlMs, since)) ? since : undefined;
    });
  }

  /**
   * The full time again: the lease of etcd is renewed, or another one is put in its place, and then the key says so. A former one is left to its end, as somebody else may just be
   * putting the key back under it.
   */
  async #extend(name: LeasedName, grant: HolderKey, ttlMs: number, since: LeaseInstant): Promise<boolean> {
    const key = keyOf(name, grant.holder);
    const known = this.#own.get(key);
    const isKnown = known?.token === grant.token && known.lease === grant.lease;
    const keeps = isKnown && secondsOf(known.ttlMs) === secondsOf(ttlMs);
    const lease = keeps && (await this.#leases.keepAlive(known.lease)) ? known.lease : await this.#leases.take(ttlMs);
    try {
      const extended = await this.#store.extend(name, grant, lease, this.#world.clock.now() + ttlMs);
      if (!extended) this.#own.delete(key);
      else this.#own.set(key, { token: grant.token, lease, ttlMs, takenAt: since.monotonic });
      return extended;
    } catch (error) {
      this.#own.delete(key);
      if (isLeaseGone(error)) return false;
      throw error;
    }
  }

  async release(name: LeasedName, holder: string): Promise<void> {
    this.#turns.leave(name.name, holder);
    await this.#inTurn(name, holder, () => this.#remove(name, holder, false));
  }

  /** Nobody waits for the answer any more; never rejects. */
  async leave(name: LeasedName, holder: string, what: "place" | "all"): Promise<void> {
    this.#turns.leave(name.name, holder);
    try {
      await this.#inTurn(name, holder, () => this.#remove(name, holder, what === "place"));
    } catch {
      await this.#leaveSurely(name, holder);
    }
  }

  async #remove(name: LeasedName, holder: string, placeOnly: boolean): Promise<void> {
    const key = keyOf(name, holder);
    const own = placeOnly ? undefined : this.#own.get(key);
    if (!placeOnly) this.#own.delete(key);
    await this.#store.remove(name, holder, placeOnly);
    if (own !== undefined) this.#leases.giveBack(own.lease, own.ttlMs, own.takenAt);
  }

  /** A place in a queue is alive for as long as the engine, so it is removed whatever it takes; a grant ends by itself. */
  async #leaveSurely(name: LeasedName, holder: string): Promise<void> {
    for (let failures = 0; !this.#closed && !this.#turns.waits(name.name, holder); failures++) {
      try {
        await this.#inTurn(name, holder, () => this.#store.remove(name, holder, true));
        return;
      } catch {
        await this.#world.timers.sleep(Math.min(retryMs.longest, retryMs.first * 2 ** failures));
      }
    }
  }

  /** Requests travel on several connections; what one holder asks must not overtake itself. */
  async #inTurn<T>(name: LeasedName, holder: string, operation: () => Promise<T>): Promise<T> {
    const key = keyOf(name, holder);
    const before = this.#sequence.get(key);
    const own = before === undefined ? operation() : before.then(operation, operation);
    const settled = own.then(ignore, ignore);
    this.#sequence.set(key, settled);
    try {
      return await own;
    } finally {
      if (this.#sequence.get(key) === settled) this.#sequence.delete(key);
    }
  }

  async #pause(): Promise<void> {
    await this.#world.timers.sleep(this.#world.random.float() * pauseMsMax);
  }

  #now(): LeaseInstant {
    return { monotonic: this.#world.clock.monotonic(), wall: this.#world.clock.now() };
  }

  close(): void {
    this.#closed = true;
    this.#turns.close();
    this.#presence.close();
    this.#leases.close();
  }
}

function granted(
  { name }: LeasedName,
  { holder, ttlMs }: ValidRequest,
  token: bigint,
  since: LeaseInstant,
  isNew: boolean,
): Answer {
  return { type: "granted", lease: { name, holder, token, ttlMs, since }, isNew };
}

function isOther(
  own: { readonly weight: number; readonly capacity: number },
  { weight, capacity }: ValidRequest,
): boolean {
  return own.weight !== weight || own.capacity !== capacity;
}

function keyOf({ name }: LeasedName, holder: string): string {
  return `${name.length}:${name}${holder}`;
}

function ignore(): void {}
