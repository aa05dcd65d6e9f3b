import { TenonError } from "../../../contracts/errors.ts";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Lease, LeaseInstant } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import type { Answer } from "../../shared/leases/acquisition.ts";
import { differs } from "../../shared/leases/acquisitions.ts";
import { nameAndHolder } from "../../shared/leases/name-and-holder.ts";
import type { EtcdConnection } from "../connection.ts";
import { isLeaseGone } from "../failures.ts";
import { HandOvers } from "./hand-overs.ts";
import { Holdings } from "./holdings.ts";
import type { GrantKey, HolderKey, LeasedName } from "./lease-names.ts";
import { fits, free, type LeaseStore, type Seen } from "./lease-store.ts";
import { Places } from "./places.ts";
import { Presence } from "./presence.ts";
import { Sequences } from "./sequences.ts";
import { instant, ServerLeases, secondsFor } from "./server-leases.ts";
import { TakenNames } from "./taken-names.ts";
import { Turns } from "./turns.ts";

export interface GrantsParts {
  readonly connection: EtcdConnection;
  readonly store: LeaseStore;
  readonly world: World;
  /** How many places are taken in one transaction at most. */
  readonly placesMax: number;
  readonly wake: (name: string, holder: string) => void;
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
  readonly #places: Places;
  readonly #handOvers: HandOvers;
  readonly #holdings = new Holdings();
  readonly #taken = new TakenNames();
  /** By name and holder. */
  readonly #sequences = new Sequences();
  /** Names that somebody of ours is about to take: others who would wait stand in line, rather than meet it. */
  readonly #granting = new Set<string>();
  /** Those that somebody of ours tries to take without having looked: who comes after it waits until it has the name or a place. */
  readonly #trying = new Map<string, Promise<void>>();
  #closed = false;

  constructor({ connection, store, world, placesMax, wake }: GrantsParts) {
    this.#store = store;
    this.#world = world;
    this.#leases = new ServerLeases(connection, world);
    this.#turns = new Turns({ world, connection, store, wake });
    this.#presence = new Presence(world, this.#leases, this.#turns);
    this.#places = new Places({ store, presence: this.#presence, turns: this.#turns }, placesMax);
    this.#handOvers = new HandOvers({
      world,
      store,
      leases: this.#leases,
      holdings: this.#holdings,
      turns: this.#turns,
    });
  }

  async ask(name: LeasedName, request: ValidRequest, waits: boolean, isOver: () => boolean): Promise<Answer> {
    const { holder } = request;
    if (waits && this.#turns.needsNoLook(name.name, request)) return { type: "waiting", askAgainMs };
    let answer: Answer | undefined;
    try {
      answer = await this.#inTurn(name, holder, async () => {
        return this.#handOvers.claim(name, holder) ?? (await this.#ask(name, request, waits, isOver));
      });
      if (answer.type === "granted") this.#taken.delete(name.name);
      return answer;
    } catch (error) {
      // A place that nobody waits in, or whose confirmation was lost, would stand in everybody's way. In a conflict it is somebody else's.
      const { code, outcome } = error as Partial<TenonError>;
      const mayStand = outcome === "unknown" || (code !== "conflict" && this.#turns.waits(name.name, holder));
      this.#turns.leave(name.name, holder);
      if (mayStand) void this.#leaveSurely(name, holder);
      throw error;
    } finally {
      if (answer?.type !== "waiting") this.#turns.leave(name.name, holder);
    }
  }

  async #ask(name: LeasedName, request: ValidRequest, waits: boolean, isOver: () => boolean): Promise<Answer> {
    if (!this.#mayBeFree(name, request, waits)) {
      return await this.#askFrom(await this.#first(name, request, waits), name, request, waits, isOver);
    }
    if (!waits) return await this.#askFrom(free, name, request, waits, isOver);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#trying.set(name.name, promise);
    try {
      return await this.#askFrom(free, name, request, waits, isOver);
    } finally {
      this.#trying.delete(name.name);
      resolve();
    }
  }

  async #askFrom(
    first: Seen,
    name: LeasedName,
    request: ValidRequest,
    waits: boolean,
    isOver: () => boolean,
  ): Promise<Answer> {
    const { holder } = request;
    let seen = first;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      // Whoever has a place when nobody waits any more is told so, and gives it up.
      if (isOver()) {
        return this.#turns.waits(name.name, holder) ? { type: "waiting", askAgainMs } : { type: "refused" };
      }
      const { place } = seen;
      const { holders, first, revision } = seen.snapshot;
      const own = holders.find((each) => each.holder === holder);
      if (own !== undefined) {
        // It came to stand in line before it was known to own the name.
        if (place !== undefined) {
          this.#turns.enter(name, request);
          await this.#store.removePlace(name, holder);
        }
        if (isOther(own, request)) throw differs(name.name, "owns", own.weight, own.capacity, request);
        const again = await this.#again(name, request, own);
        if (again !== undefined) return again;
        seen = await this.#store.lookFor(name, holder);
        continue;
      }
      // What it held has ended; who gives up next gives up a place.
      this.#holdings.delete(name.name, holder);
      if (place !== undefined && isOther(place, request)) {
        throw differs(name.name, "waits for", place.weight, place.capacity, request);
      }
      const isFirst =
        first === undefined
          ? !(waits && this.#granting.has(name.name))
          : place !== undefined && this.#turns.isFirst(name.name, holder, place, first);
      if (isFirst && fits(holders, request)) {
        const answer = await this.#grant(name, request, seen);
        if (answer !== undefined) return answer;
        // Others who ask at the same time are met again and again; who only tried has met nobody so far.
        if (seen !== free) await this.#world.timers.sleep(this.#world.random.float() * pauseMsMax);
        seen = await this.#store.lookFor(name, holder);
        continue;
      }
      if (!waits) {
        this.#taken.add(name.name);
        // Whoever waited in it has stopped.
        if (place !== undefined) await this.#store.removePlace(name, holder);
        return { type: "refused" };
      }
      const lease = await this.#presence.lease();
      if (place !== undefined && place.lease === lease) {
        this.#turns.follow(name, request, Number(place.revision), revision);
        return { type: "waiting", askAgainMs };
      }
      seen = await (place === undefined
        ? this.#places.stand(name, request)
        : this.#places.standAgain(name, request, place));
    }
    const text = `${name.name} changed hands each of the ${attemptsMax} times that it was asked for; nothing was taken. Try again.`;
    throw new TenonError("overloaded", text, { fields: { name: name.name, attempts: attemptsMax } });
  }

  /** Nothing is known of the holder or of others at the name; to look would tell no more than to try. */
  #mayBeFree(name: LeasedName, request: ValidRequest, waits: boolean): boolean {
    if (this.#taken.has(name.name) || this.#isKnown(name, request.holder)) return false;
    return !(waits && (this.#trying.has(name.name) || this.#isOurs(name.name, request)));
  }

  async #first(name: LeasedName, request: ValidRequest, waits: boolean): Promise<Seen> {
    const { holder } = request;
    const shown = this.#turns.shown(name.name, holder);
    if (shown !== undefined) return shown;
    if (waits) await this.#trying.get(name.name);
    const joins = waits && !this.#isKnown(name, holder) && this.#isOurs(name.name, request);
    return joins ? this.#places.stand(name, request) : this.#store.lookFor(name, holder);
  }

  /** Whether the holder may have something at the name already. */
  #isKnown(name: LeasedName, holder: string): boolean {
    return this.#turns.waits(name.name, holder) || this.#holdings.get(name.name, holder) !== undefined;
  }

  /** Whether others of ours hold the name, wait for it or are about to take it, so that nothing is left for this request. */
  #isOurs(name: string, request: ValidRequest): boolean {
    if (this.#turns.has(name) || this.#granting.has(name)) return true;
    const weight = this.#holdings.weightOf(name, instant(this.#world));
    return !fits([{ weight }], request);
  }

  /** The grant that the holder has already; it is new to the holder when it was handed over and that was not known. */
  async #again(name: LeasedName, request: ValidRequest, own: HolderKey): Promise<Answer | undefined> {
    const since = instant(this.#world);
    if (!(await this.#extend(name, { ...own, data: request.data }, request.ttlMs, since))) return undefined;
    return granted(name, request, own.token, since, this.#handOvers.take(name, request.holder));
  }

  async #grant(name: LeasedName, request: ValidRequest, seen: Seen): Promise<Answer | undefined> {
    this.#granting.add(name.name);
    try {
      return await this.#take(name, request, seen);
    } finally {
      this.#granting.delete(name.name);
    }
  }

  async #take(name: LeasedName, request: ValidRequest, seen: Seen): Promise<Answer | undefined> {
    const { holder, ttlMs, weight } = request;
    const since = instant(this.#world);
    const lease = await this.#leases.take(ttlMs, since);
    const end = { lease: lease.id, expiresAt: this.#world.clock.now() + ttlMs };
    let grant: GrantKey | undefined;
    try {
      grant = await this.#store.grant(name, request, seen, end);
    } catch (error) {
      // It ended between the two; nothing was granted.
      if (isLeaseGone(error)) return undefined;
      throw error;
    }
    if (grant === undefined) {
      this.#leases.giveBack(lease);
      return undefined;
    }
    this.#holdings.set(name.name, holder, { ...grant, weight, ttlMs, lease, since });
    // A hand-over of which nobody knew what came has come to nothing.
    this.#handOvers.take(name, holder);
    return granted(name, request, grant.token, since, true);
  }

  /** Since when it may be relied on anew; `undefined` when it is lost. */
  async renew(name: LeasedName, { holder, token }: Lease, ttlMs: number): Promise<LeaseInstant | undefined> {
    return this.#inTurn(name, holder, async () => {
      const since = instant(this.#world);
      const { holders } = await this.#store.look(name);
      const own = holders.find((each) => each.holder === holder && each.token === token);
      if (own !== undefined && (await this.#extend(name, own, ttlMs, since))) return since;
      if (this.#holdings.get(name.name, holder)?.token === token) this.#holdings.delete(name.name, holder);
      return undefined;
    });
  }

  /**
   * The full time again: the lease of etcd is renewed, or another one is put in its place, and then the key says so. A former one is left to its end, as somebody else may just be
   * putting the key back under it.
   */
  async #extend(name: LeasedName, grant: HolderKey, ttlMs: number, since: LeaseInstant): Promise<boolean> {
    const { holder, key, token, weight } = grant;
    const known = this.#holdings.get(name.name, holder);
    const isKnown = known?.token === token && known.lease.id === grant.lease;
    const keeps = isKnown && known.lease.seconds === secondsFor(ttlMs);
    const lease =
      keeps && (await this.#leases.keepAlive(known.lease)) ? known.lease : await this.#leases.take(ttlMs, since);
    try {
      const end = { lease: lease.id, expiresAt: this.#world.clock.now() + ttlMs };
      const extended = await this.#store.extend(grant, end);
      if (!extended) this.#holdings.delete(name.name, holder);
      else this.#holdings.set(name.name, holder, { key, token, weight, ttlMs, lease, since });
      return extended;
    } catch (error) {
      this.#holdings.delete(name.name, holder);
      if (isLeaseGone(error)) return false;
      throw error;
    }
  }

  async release(name: LeasedName, holder: string): Promise<void> {
    this.#turns.leave(name.name, holder);
    await this.#inTurn(name, holder, async () => {
      // It gives up what it was given, too, whether or not it knows of it.
      this.#handOvers.take(name, holder);
      if (!(await this.#handOver(name, holder))) await this.#remove(name, holder, "all");
    });
  }

  /** Releases what the holder has, if the name can be handed over. */
  async #handOver(name: LeasedName, holder: string): Promise<boolean> {
    const own = this.#holdings.get(name.name, holder);
    const next = own && this.#handOvers.next(name, own);
    if (own === undefined || next === undefined) return false;
    // Who is just asking finds out itself.
    if (this.#sequences.isBusy(nameAndHolder(name.name, next.request.holder))) return false;
    return this.#inTurn(name, next.request.holder, () => this.#handOvers.handOver(name, { holder, own }, next));
  }

  /** Nobody waits for the answer any more; never rejects. */
  async leave(name: LeasedName, holder: string, what: "place" | "all"): Promise<void> {
    this.#turns.leave(name.name, holder);
    try {
      await this.#inTurn(name, holder, () => this.#remove(name, holder, what));
    } catch {
      await this.#leaveSurely(name, holder);
    }
  }

  /** `place`: and what the holder was given in that place and knows nothing of. */
  async #remove(name: LeasedName, holder: string, what: "place" | "all"): Promise<void> {
    this.#turns.leave(name.name, holder);
    const wasGiven = this.#handOvers.take(name, holder);
    if (what === "place" && !wasGiven) {
      await this.#store.removePlace(name, holder);
      this.#turns.freed(name.name);
      return;
    }
    const own = this.#holdings.get(name.name, holder);
    this.#holdings.delete(name.name, holder);
    try {
      // Who was granted the name has left the queue with that. Where that grant has ended, it may have come back from elsewhere.
      if (own === undefined || !(await this.#store.removeGrant(own))) await this.#store.removeAll(name, holder);
    } finally {
      this.#turns.freed(name.name);
    }
    if (own !== undefined) this.#leases.giveBack(own.lease);
  }

  /** A place in a queue is alive for as long as the engine, so it is removed whatever it takes; a grant ends by itself. */
  async #leaveSurely(name: LeasedName, holder: string): Promise<void> {
    for (let failures = 0; !this.#closed; failures++) {
      try {
        await this.#inTurn(name, holder, async () => {
          if (!this.#turns.waits(name.name, holder)) await this.#remove(name, holder, "place");
        });
        return;
      } catch {
        await this.#world.timers.sleep(Math.min(retryMs.longest, retryMs.first * 2 ** failures));
      }
    }
  }

  #inTurn<T>(name: LeasedName, holder: string, operation: () => Promise<T>): Promise<T> {
    return this.#sequences.inTurn(nameAndHolder(name.name, holder), operation);
  }

  /** When all has ended that is under way now. */
  idle(): Promise<void> {
    return this.#sequences.idle();
  }

  /** All places go, and what was handed over to nobody. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#turns.close();
    await Promise.all([this.#presence.close(), this.#handOvers.close(), this.#leases.close()]);
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
