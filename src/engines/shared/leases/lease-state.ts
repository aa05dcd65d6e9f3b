import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { LeaseHolder } from "../../../contracts/leases.ts";
import { ByteReader, ByteWriter } from "../binary.ts";

interface Holder {
  readonly holder: string;
  readonly token: number;
  readonly weight: number;
  readonly capacity: number;
  ttlMs: number;
  endsAt: number;
  data: string | undefined;
}

interface Waiter {
  readonly holder: string;
  readonly weight: number;
  readonly capacity: number;
  /** Where the one who waits hears of its turn. */
  channel: string;
  /** Believed to wait until then, unless it asks again. */
  until: number;
}

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

const format = 1;

/**
 * One leased name, who holds it and who waits for it in order: a state machine on one value, for stores that change it under a lock. `now` is the store's clock. Takes 45 bytes or so and its texts for
 * each holder, 20 and its texts for each that waits.
 */
export class LeaseState {
  readonly #holders = new Map<string, Holder>();
  readonly #waiters = new Map<string, Waiter>();
  /** Somebody began to hold the name, or ceased to. */
  holdersChanged = false;
  /** Whose turn has come, by where it hears of it. */
  readonly turns: { readonly channel: string; readonly holder: string }[] = [];

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

  acquire(request: ValidRequest, asking: Asking, now: number): StateAnswer {
    this.#sweep(now);
    const { holder, weight, capacity } = request;
    const own = this.#holders.get(holder);
    if (own !== undefined) {
      if (own.weight !== weight || own.capacity !== capacity) return differs("owns", own);
      this.#hold(request, own.token, now);
      return { type: "granted", token: own.token, isNew: false };
    }
    const place = this.#waiters.get(holder);
    if (place !== undefined && (place.weight !== weight || place.capacity !== capacity)) {
      return differs("waits for", place);
    }
    const first = this.#first(now);
    if ((first === undefined || first.holder === holder) && this.#fits(request)) {
      this.#waiters.delete(holder);
      const token = asking.token();
      this.#hold(request, token, now);
      this.holdersChanged = true;
      this.#wake(this.#first(now));
      return { type: "granted", token, isNew: true };
    }
    if (first !== undefined && first.holder !== holder) this.#wake(first);
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
    if (place !== undefined) Object.assign(place, { channel, until });
    else this.#waiters.set(holder, { holder, weight, capacity, channel, until });
    const next = first === undefined || first.holder === holder ? this.#firstEnd() : first.until;
    return { type: "waiting", askAgainMs: Math.max(1, Math.ceil(Math.min(next - now, patienceMs))) };
  }

  #hold({ holder, weight, capacity, ttlMs, data }: ValidRequest, token: number, now: number): void {
    this.#holders.set(holder, { holder, token, weight, capacity, ttlMs, endsAt: now + ttlMs, data });
  }

  /** `false` when the holder does not own the name under this token any more. */
  renew(holder: string, token: number, ttlMs: number, now: number): boolean {
    this.#sweep(now);
    const own = this.#holders.get(holder);
    if (own === undefined || own.token !== token) return false;
    own.ttlMs = ttlMs;
    own.endsAt = now + ttlMs;
    return true;
  }

  /** Gives up what the holder has, or only its place in the queue. */
  release(holder: string, placeOnly: boolean, now: number): void {
    this.#sweep(now);
    this.#waiters.delete(holder);
    if (!placeOnly && this.#holders.delete(holder)) this.holdersChanged = true;
    this.#wake(this.#first(now));
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

  /** Tells the first of those who wait that it fits; it then asks again. */
  #wake(first: Waiter | undefined): void {
    if (first !== undefined && this.#fits(first)) this.turns.push({ channel: first.channel, holder: first.holder });
  }

  encode(): Buffer {
    const writer = new ByteWriter().u8(format).whole(this.#holders.size);
    for (const { holder, token, weight, capacity, ttlMs, endsAt, data } of this.#holders.values()) {
      writer.text(holder).whole(token).whole(weight).whole(capacity).f64(ttlMs).f64(endsAt);
      if (data === undefined) writer.u8(0);
      else writer.u8(1).text(data);
    }
    writer.whole(this.#waiters.size);
    for (const { holder, weight, capacity, channel, until } of this.#waiters.values()) {
      writer.text(holder).whole(weight).whole(capacity).text(channel).f64(until);
    }
    return writer.done();
  }

  /** No bytes: nobody holds it. */
  static decode(bytes: Uint8Array): LeaseState {
    const state = new LeaseState();
    if (bytes.length === 0) return state;
    const reader = new ByteReader(bytes, "a leased name");
    if (reader.u8() !== format) throw reader.corrupt();
    for (let left = reader.whole(); left > 0; left--) {
      const holder = reader.text();
      const [token, weight, capacity] = [reader.whole(), reader.whole(), reader.whole()];
      const [ttlMs, endsAt] = [reader.f64(), reader.f64()];
      const data = reader.u8() === 0 ? undefined : reader.text();
      state.#holders.set(holder, { holder, token, weight, capacity, ttlMs, endsAt, data });
    }
    for (let left = reader.whole(); left > 0; left--) {
      const holder = reader.text();
      const [weight, capacity] = [reader.whole(), reader.whole()];
      state.#waiters.set(holder, { holder, weight, capacity, channel: reader.text(), until: reader.f64() });
    }
    reader.end();
    return state;
  }
}

function differs(does: "owns" | "waits for", { weight, capacity }: Holder | Waiter): StateAnswer {
  return { type: "differs", does, weight, capacity };
}
