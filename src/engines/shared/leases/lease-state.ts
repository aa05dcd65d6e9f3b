import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { LeaseHolder } from "../../../contracts/leases.ts";
import { decodeEntries, encodeEntries, type Holder, type Stamp, stampedToken, type Waiter } from "./lease-entries.ts";

/** What the state says to a request. */
export type StateAnswer =
  | { readonly type: "granted"; readonly token: number; readonly isNew: boolean }
  | { readonly type: "refused" }
  | { readonly type: "waiting"; readonly askAgainMs: number }
  | {
      readonly type: "differs";
      readonly does: "owns" | "waits for";
      readonly weight: number;
      readonly capacity: number;
    };

export interface Asking {
  readonly waits: boolean;
  readonly channel: string;
  /** How long a place is kept for who does not ask again. */
  readonly patienceMs: number;
  /** Greater than every token that the name had before. */
  readonly token: () => number;
}

/** Grants the name to who waits for it in this process, in the very change by which its turn comes, so that it need not ask again. */
export interface HandingOver {
  /** Under which those of this process wait. */
  readonly channel: string;
  /** What the one who waits asks for; `undefined`: nobody wants it any more, or nobody knows. */
  readonly wanted: (holder: string) => ValidRequest | undefined;
  readonly token: () => number;
}

/** Who was granted the name though it did not ask just now. */
export interface HandedOver {
  readonly holder: string;
  readonly token: number;
}

/**
 * One leased name, who holds it and who waits for it in order: a state machine on one value, for stores that change it under a lock. `now` is the store's clock. Takes 45 bytes or so and its texts for
 * each holder, 12 and its holder's text for each that waits.
 *
 * A store that has a clock and a counter of its own can be written without asking it first what they say: see `encodeUnstamped`.
 */
export class LeaseState {
  readonly #holders = new Map<string, Holder>();
  readonly #waiters = new Map<string, Waiter>();
  /** Somebody began to hold the name, or ceased to. */
  holdersChanged = false;
  /** Whose turn has come, by where it hears of it. */
  readonly turns: { readonly channel: string; readonly holder: string }[] = [];
  /** Who was granted the name by `HandingOver`. */
  readonly handedOver: HandedOver[] = [];
  /** Grants whose token is that of the write to come. */
  readonly #unstampedGrants: { token: number }[] = [];

  /** Nobody holds it or waits for it. */
  get unused(): boolean {
    return this.#holders.size === 0 && this.#waiters.size === 0;
  }

  /** From then on it is unused by itself. */
  get endsAt(): number {
    let end = 0;
    for (const { endsAt } of this.#holders.values()) end = Math.max(end, endsAt);
    for (const { until } of this.#waiters.values()) end = Math.max(end, until);
    return end;
  }

  /** Whether `acquire` would be a new grant, for which it draws a token. */
  grants(request: ValidRequest, now: number): boolean {
    this.#sweep(now);
    const { holder, weight, capacity } = request;
    if (this.#holders.has(holder)) return false;
    const place = this.#waiters.get(holder);
    if (place !== undefined && (place.weight !== weight || place.capacity !== capacity)) return false;
    const first = this.#first(now);
    return (first === undefined || first.holder === holder) && this.#fits(request);
  }

  /** The holder owns something, or has a place in the queue. */
  knows(holder: string, now: number): boolean {
    this.#sweep(now);
    const place = this.#waiters.get(holder);
    return this.#holders.has(holder) || (place !== undefined && place.until > now);
  }

  /** Nobody else owns anything. */
  isOwnedBy(holder: string): boolean {
    return this.#holders.size === 1 && this.#holders.has(holder);
  }

  /** The next instant at which something in it ends by itself: until then it means the same. */
  get nextEndAt(): number {
    let end = this.#firstEnd();
    for (const { until } of this.#waiters.values()) end = Math.min(end, until);
    return end;
  }

  acquire(request: ValidRequest, asking: Asking, now: number, handing?: HandingOver): StateAnswer {
    this.#sweep(now);
    const { holder, weight, capacity } = request;
    const own = this.#holders.get(holder);
    if (own !== undefined) {
      if (own.weight !== weight || own.capacity !== capacity) return differs("owns", own);
      this.#hold(request, own.token, now);
      return this.#noted({ type: "granted" as const, token: own.token, isNew: false });
    }
    const place = this.#waiters.get(holder);
    if (place !== undefined && (place.weight !== weight || place.capacity !== capacity)) {
      return differs("waits for", place);
    }
    this.#passOn(now, handing, holder);
    const first = this.#first(now);
    if ((first === undefined || first.holder === holder) && this.#fits(request)) {
      const token = asking.token();
      this.#grant(request, token, now);
      this.#passOn(now, handing);
      return this.#noted({ type: "granted" as const, token, isNew: true });
    }
    if (!asking.waits) return { type: "refused" };
    return this.#standInLine(request, asking, first, now);
  }

  #standInLine(
    { holder, weight, capacity }: ValidRequest,
    asking: Asking,
    first: Waiter | undefined,
    now: number,
  ): StateAnswer {
    const { channel, patienceMs } = asking;
    const until = now + patienceMs;
    const place = this.#waiters.get(holder);
    const stay = { channel, patienceMs, until, unstamped: true };
    if (place !== undefined) Object.assign(place, stay);
    else this.#waiters.set(holder, { holder, weight, capacity, ...stay });
    const next = first === undefined || first.holder === holder ? this.#firstEnd() : first.until;
    return { type: "waiting", askAgainMs: Math.max(1, Math.ceil(Math.min(next - now, patienceMs))) };
  }

  #hold({ holder, weight, capacity, ttlMs, data }: ValidRequest, token: number, now: number): void {
    const endsAt = now + ttlMs;
    this.#holders.set(holder, { holder, token, weight, capacity, ttlMs, endsAt, data, unstamped: true });
  }

  #grant(request: ValidRequest, token: number, now: number): void {
    this.#waiters.delete(request.holder);
    this.#hold(request, token, now);
    this.holdersChanged = true;
  }

  #noted<Grant extends { token: number }>(grant: Grant): Grant {
    if (grant.token === stampedToken) this.#unstampedGrants.push(grant);
    return grant;
  }

  /** `false` when the holder does not own the name under this token any more. */
  renew(holder: string, token: number, ttlMs: number, now: number): boolean {
    this.#sweep(now);
    const own = this.#holders.get(holder);
    if (own === undefined || own.token !== token) return false;
    own.ttlMs = ttlMs;
    own.endsAt = now + ttlMs;
    own.unstamped = true;
    return true;
  }

  /** Gives up what the holder has, or only its place in the queue. */
  release(holder: string, placeOnly: boolean, now: number, handing?: HandingOver): void {
    this.#sweep(now);
    this.#waiters.delete(holder);
    if (!placeOnly && this.#holders.delete(holder)) this.holdersChanged = true;
    this.#passOn(now, handing);
  }

  /** Whose turn it is, for stores that cannot say it to whom it concerns; it then asks again. */
  nextTurn(now: number): string | undefined {
    this.#sweep(now);
    const first = this.#first(now);
    return first !== undefined && this.#fits(first) ? first.holder : undefined;
  }

  describe(now: number): { readonly holders: readonly LeaseHolder[]; readonly waiting: number } {
    this.#sweep(now);
    this.#first(now);
    const holders = [...this.#holders.values()].map(({ holder, token, weight, data, endsAt }) => {
      return { holder, token: BigInt(token), weight, data, expiresAt: endsAt };
    });
    holders.sort((one, other) => (one.token < other.token ? -1 : 1));
    const waiting = [...this.#waiters.values()].filter(({ until }) => until > now).length;
    return { holders, waiting };
  }

  /** Takes those out whose time has passed. When the clock was set back, nobody stays for longer than it was given. */
  #sweep(now: number): void {
    for (const own of this.#holders.values()) {
      if (own.endsAt <= now) {
        this.#holders.delete(own.holder);
        this.holdersChanged = true;
      } else own.endsAt = Math.min(own.endsAt, now + own.ttlMs);
    }
  }

  #firstEnd(): number {
    let end = Number.POSITIVE_INFINITY;
    for (const { endsAt } of this.#holders.values()) end = Math.min(end, endsAt);
    return end;
  }

  #fits({ weight, capacity }: { readonly weight: number; readonly capacity: number }): boolean {
    let held = 0;
    for (const own of this.#holders.values()) held += own.weight;
    return held + weight <= capacity;
  }

  /** Whose turn it is. Those that have not been heard of are taken out. */
  #first(now: number): Waiter | undefined {
    for (const waiter of this.#waiters.values()) {
      if (waiter.until > now) return waiter;
      this.#waiters.delete(waiter.holder);
    }
    return undefined;
  }

  /**
   * The first of those who wait, and then those behind it, for as long as they fit: those of this process are granted the name, another is told that its turn has come; it then asks again.
   * `asker` asks right now, and needs neither.
   */
  #passOn(now: number, handing: HandingOver | undefined, asker?: string): void {
    for (;;) {
      const first = this.#first(now);
      if (first === undefined || first.holder === asker || !this.#fits(first)) return;
      if (first.channel !== handing?.channel) {
        this.turns.push({ channel: first.channel, holder: first.holder });
        return;
      }
      const request = handing.wanted(first.holder);
      // It leaves its place by itself, or asks for it anew: nobody overtakes it until then.
      if (request?.weight !== first.weight || request.capacity !== first.capacity) return;
      const { holder } = first;
      const token = handing.token();
      this.#grant(request, token, now);
      this.handedOver.push(this.#noted({ holder, token }));
    }
  }

  encode(): Buffer {
    return encodeEntries([...this.#holders.values()], [...this.#waiters.values()], false);
  }

  /**
   * For a store that stamps what it writes: the instants that were set since the last one count from the stamp, and a grant whose token was given as 0 takes the stamp's number. So `now`
   * need only be a guess, of which it is known that nothing of the state ended before it. At most one grant can take the number.
   */
  encodeUnstamped(): Buffer {
    return encodeEntries([...this.#holders.values()], [...this.#waiters.values()], true);
  }

  /** It was written with this stamp. What was answered since the last one, and what was handed over, has its token now; what is done from here on counts anew. */
  stamp({ now, number }: Stamp): void {
    for (const own of this.#holders.values()) {
      if (own.token === stampedToken) own.token = number;
      if (own.unstamped) own.endsAt = now + own.ttlMs;
      own.unstamped = false;
    }
    for (const waiter of this.#waiters.values()) {
      if (waiter.unstamped) waiter.until = now + waiter.patienceMs;
      waiter.unstamped = false;
    }
    for (const grant of this.#unstampedGrants) grant.token = number;
    this.holdersChanged = false;
    this.turns.length = 0;
    this.handedOver.length = 0;
    this.#unstampedGrants.length = 0;
  }

  /** No bytes: nobody holds it. `stamp`: that of the write, where there is one. */
  static decode(bytes: Uint8Array, stamp?: Stamp): LeaseState {
    const state = new LeaseState();
    if (bytes.length === 0) return state;
    const { holders, waiters } = decodeEntries(bytes, stamp);
    for (const own of holders) state.#holders.set(own.holder, own);
    for (const waiter of waiters) state.#waiters.set(waiter.holder, waiter);
    return state;
  }
}

function differs(does: "owns" | "waits for", { weight, capacity }: Holder | Waiter): StateAnswer {
  return { type: "differs", does, weight, capacity };
}
