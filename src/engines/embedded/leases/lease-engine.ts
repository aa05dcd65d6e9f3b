import { assert, TenonError } from "../../../contracts/errors.ts";
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
import type { Core } from "../core.ts";
import type { EntryStore } from "../key-values/entry-store.ts";
import { bytesOfText } from "../key-values/key-value-records.ts";
import { decodeHolder, encodeHolder, holderKey, parseHolderKey, type StoredHolder } from "./lease-records.ts";
import { LeaseWatch } from "./lease-watch.ts";
import { type Granted, type Held, LeasedName, type Waiter } from "./leased-name.ts";

interface Change {
  readonly batch: number;
  readonly number: number;
  readonly leased: LeasedName;
  readonly description: LeaseDescription;
}

/**
 * Leases on the journal. Who holds what is decided at once, in memory, and written down in the same step; the answer waits until that
 * is durable. The version of the commit that grants is the token: one counter, never reused. Who waits is known in memory only,
 * as those who wait are calls of this process.
 */
export class EmbeddedLeases implements LeaseEngine {
  readonly capabilities: LeaseCapabilities;
  readonly #core: Core;
  readonly #world: World;
  readonly #states: EntryStore;
  readonly #names = new Map<string, LeasedName>();
  /** How many calls want a grant that nobody has been told of yet, by its token; it is given up when all of them have gone. */
  readonly #untold = new Map<number, number>();
  /** What watchers will hear when the batch is durable. */
  readonly #changes: Change[] = [];
  #changeCount = 0;

  constructor(core: Core, states: EntryStore, survives: LeaseCapabilities["survives"]) {
    this.#core = core;
    this.#world = core.world;
    this.#states = states;
    this.capabilities = {
      survives,
      fifo: true,
      counted: true,
      expiryLatenessMs: 50,
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
    this.#core.throwIfClosed();
    validText("the name of a lease", name, 1, this.capabilities.nameBytesMax);
    const asked = validRequest(request, this.capabilities);
    const { signal } = options;
    signal?.throwIfAborted();
    const leased = this.#advanced(name);
    const granted = this.#ownedAlready(leased, asked) ?? this.#grantedAtOnce(leased, asked);
    if (granted !== undefined) return this.#told(leased, asked, granted, signal);
    const waited = asked.waitMs === 0 ? undefined : await this.#wait(leased, asked, signal);
    this.#tidy(leased);
    return waited && this.#told(leased, asked, waited, signal);
  }

  async renew(lease: Lease, ttlMs: number = lease.ttlMs): Promise<Lease> {
    this.#core.throwIfClosed();
    const { name, holder, token } = lease;
    validTtl(ttlMs, this.capabilities);
    const leased = this.#advanced(name);
    const held = leased.holders.get(holder);
    if (held === undefined || BigInt(held.token) !== token) {
      this.#tidy(leased);
      const message = `the lease of ${name} with token ${token} is lost: it ended or was released; acquire it again under a new holder`;
      throw new TenonError("lost", message, { fields: { name, token } });
    }
    const { since } = this.#hold(leased, holder, { ...held, ttlMs });
    await this.#core.journal.durable();
    return { name, holder, token, ttlMs, since };
  }

  async release(name: string, holder: string): Promise<void> {
    this.#core.throwIfClosed();
    validText("the name of a lease", name, 1, this.capabilities.nameBytesMax);
    validText("holder", holder, 1, this.capabilities.nameBytesMax);
    const leased = this.#advanced(name);
    const waiter = leased.waiters.get(holder);
    if (waiter !== undefined) {
      this.#leave(leased, waiter);
      for (const asker of waiter.askers) asker.resolve(undefined);
    }
    this.#drop(leased, holder);
    this.#tidy(leased);
    await this.#core.journal.durable();
  }

  async describe(name: string): Promise<LeaseDescription> {
    this.#core.throwIfClosed();
    const leased = this.#advanced(name);
    const description = leased.describe(this.#now());
    this.#tidy(leased);
    await this.#core.journal.durable();
    return description;
  }

  async *watch(
    name: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<LeaseDescription> {
    this.#core.throwIfClosed();
    const leased = this.#advanced(name);
    const watch = new LeaseWatch(this.#changeCount);
    leased.watches.add(watch);
    try {
      const present = leased.describe(this.#now());
      yield* watch.states(
        this.#core.journal.durable().then(() => present),
        options.signal,
      );
    } finally {
      leased.watches.delete(watch);
      this.#tidy(leased);
    }
  }

  /** Names that somebody holds, waits for or watches. */
  get nameCount(): number {
    return this.#names.size;
  }

  /** Everything is replayed. */
  start(): void {
    const now = this.#now();
    for (const { key, value } of this.#states.all()) {
      const parsed = parseHolderKey(key);
      if (parsed === undefined) continue;
      const stored = decodeHolder(bytesOfText(value!));
      // When the clock was set back meanwhile, nobody keeps the name for longer than was agreed.
      const expiresAt = Math.min(stored.expiresAt, now.wall + stored.ttlMs);
      const monotonicEnd = now.monotonic + (expiresAt - now.wall);
      this.#named(parsed.name).hold({ ...stored, holder: parsed.holder, expiresAt, monotonicEnd });
    }
    for (const leased of [...this.#names.values()]) {
      this.#advance(leased);
      this.#tidy(leased);
    }
  }

  /** Tells the watchers what has become durable. */
  durable(batch: number): void {
    let done = 0;
    for (const change of this.#changes) {
      if (change.batch > batch) break;
      done += 1;
      for (const watch of change.leased.watches) watch.offer(change.number, change.description);
    }
    if (done > 0) this.#changes.splice(0, done);
  }

  /** The engine has ended; nothing is written any more. */
  close(): void {
    const error = this.#core.closedError()!;
    for (const leased of this.#names.values()) {
      leased.timer?.cancel();
      for (const waiter of leased.waiters.values()) {
        for (const asker of waiter.askers) asker.reject(error);
      }
      for (const watch of leased.watches) watch.fail(error);
    }
  }

  #now(): LeaseInstant {
    return { monotonic: this.#world.clock.monotonic(), wall: this.#world.clock.now() };
  }

  #named(name: string): LeasedName {
    let leased = this.#names.get(name);
    if (leased === undefined) {
      leased = new LeasedName(name);
      this.#names.set(name, leased);
    }
    return leased;
  }

  /** The name as of now: whose time has passed has gone, and whose turn has come has been granted it. */
  #advanced(name: string): LeasedName {
    const leased = this.#named(name);
    this.#advance(leased);
    return leased;
  }

  #advance(leased: LeasedName): void {
    const ended = leased.dropEnded(this.#now());
    if (ended.length === 0) return;
    // Written, so that no later opening, by whatever clock, takes them for holders beside those who follow.
    this.#states.commit(ended.map((holder) => ({ type: "delete", key: holderKey(leased.name, holder) })));
    this.#core.flush();
    this.#changed(leased);
    this.#grantNext(leased);
  }

  /** Keeps the timer at the next end, and forgets a name that nobody has to do with. */
  #tidy(leased: LeasedName): void {
    if (this.#core.closed) return;
    const { timer } = leased;
    if (leased.holders.size === 0) {
      timer?.cancel();
      leased.timer = undefined;
      if (leased.unused && this.#names.get(leased.name) === leased) this.#names.delete(leased.name);
      return;
    }
    const at = leased.monotonicEndMin;
    if (timer !== undefined && timer.at <= at) return;
    timer?.cancel();
    const delayMs = Math.max(1, Math.ceil(at - this.#world.clock.monotonic()));
    const cancel = this.#world.timers.schedule(delayMs, () => {
      leased.timer = undefined;
      if (this.#core.closed) return;
      this.#advance(leased);
      this.#tidy(leased);
    });
    leased.timer = { at, cancel };
  }

  #ownedAlready(leased: LeasedName, asked: ValidRequest): Granted | undefined {
    const held = leased.holders.get(asked.holder);
    if (held === undefined) return undefined;
    refuseOther(leased.name, "owns", held, asked);
    const untold = this.#untold.get(held.token);
    if (untold !== undefined) this.#untold.set(held.token, untold + 1);
    return this.#hold(leased, asked.holder, { ...held, ttlMs: asked.ttlMs });
  }

  #grantedAtOnce(leased: LeasedName, asked: ValidRequest): Granted | undefined {
    if (leased.waiters.size > 0 || !leased.fits(asked)) return undefined;
    this.#core.throwIfFull("acquiring a lease");
    return this.#grant(leased, asked, 1);
  }

  #grant(leased: LeasedName, asked: ValidRequest, askers: number): Granted {
    const { holder, weight, capacity, ttlMs, data } = asked;
    const token = this.#states.version + 1;
    const granted = this.#hold(leased, holder, { token, weight, capacity, ttlMs, data });
    assert(this.#states.version === token, "A lease's token is not the version of the commit that granted it.");
    this.#untold.set(token, askers);
    this.#changed(leased);
    return granted;
  }

  /** Writes that the holder owns it from now on for a time to live. */
  #hold(leased: LeasedName, holder: string, grant: Omit<StoredHolder, "expiresAt">): Granted {
    const since = this.#now();
    const expiresAt = since.wall + grant.ttlMs;
    const held: Held = { ...grant, holder, expiresAt, monotonicEnd: since.monotonic + grant.ttlMs };
    const value = encodeHolder(held);
    this.#states.commit([{ type: "put", key: holderKey(leased.name, holder), value, expiresAt: Infinity }]);
    this.#core.flush();
    leased.hold(held);
    this.#tidy(leased);
    return { token: grant.token, since };
  }

  #drop(leased: LeasedName, holder: string): void {
    if (!leased.drop(holder)) return;
    this.#states.commit([{ type: "delete", key: holderKey(leased.name, holder) }]);
    this.#core.flush();
    this.#changed(leased);
    this.#grantNext(leased);
  }

  #changed(leased: LeasedName): void {
    if (leased.watches.size === 0) return;
    this.#changeCount += 1;
    const description = leased.describe(this.#now());
    this.#changes.push({ batch: this.#core.journal.batch, number: this.#changeCount, leased, description });
  }

  /** Grants to those who wait, first come, first served: who does not fit keeps everybody behind waiting. */
  #grantNext(leased: LeasedName): void {
    for (const [holder, waiter] of leased.waiters) {
      if (!leased.fits(waiter.request)) return;
      leased.waiters.delete(holder);
      const granted = this.#grant(leased, waiter.request, waiter.askers.size);
      for (const asker of waiter.askers) asker.resolve(granted);
    }
  }

  async #wait(leased: LeasedName, asked: ValidRequest, signal: AbortSignal | undefined): Promise<Granted | undefined> {
    const waiter = this.#queued(leased, asked);
    const settlement = Promise.withResolvers<Granted | undefined>();
    waiter.askers.add(settlement);
    const leave = () => {
      waiter.askers.delete(settlement);
      if (waiter.askers.size === 0) this.#leave(leased, waiter);
    };
    const abort = () => {
      leave();
      settlement.reject(signal!.reason);
    };
    const cancel =
      asked.waitMs === Number.POSITIVE_INFINITY
        ? undefined
        : this.#world.timers.schedule(asked.waitMs, () => {
            leave();
            settlement.resolve(undefined);
          });
    signal?.addEventListener("abort", abort);
    try {
      return await settlement.promise;
    } finally {
      cancel?.();
      signal?.removeEventListener("abort", abort);
    }
  }

  /** The place in the queue: a new one at its end, or the one that the same holder waits at already. */
  #queued(leased: LeasedName, asked: ValidRequest): Waiter {
    const waiter = leased.waiters.get(asked.holder);
    if (waiter !== undefined) {
      refuseOther(leased.name, "waits for", waiter.request, asked);
      waiter.request = asked;
      return waiter;
    }
    this.#core.throwIfFull("acquiring a lease");
    const added: Waiter = { request: asked, askers: new Set() };
    leased.waiters.set(asked.holder, added);
    return added;
  }

  /** Takes the waiter out of the queue, if it is still there; those behind it move up. */
  #leave(leased: LeasedName, waiter: Waiter): void {
    const { holder } = waiter.request;
    if (leased.waiters.get(holder) !== waiter) return;
    leased.waiters.delete(holder);
    this.#grantNext(leased);
  }

  /** The lease, when its grant is durable. When the signal aborts before, it is given up, unless somebody else was told of it. */
  async #told(
    leased: LeasedName,
    { holder, ttlMs }: ValidRequest,
    { token, since }: Granted,
    signal: AbortSignal | undefined,
  ): Promise<Lease> {
    try {
      await unlessAborted(this.#core.journal.durable(), signal);
    } catch (error) {
      const others = (this.#untold.get(token) ?? 0) - 1;
      if (others > 0) this.#untold.set(token, others);
      else if (this.#untold.delete(token) && leased.holders.get(holder)?.token === token && !this.#core.closed) {
        this.#drop(leased, holder);
        this.#tidy(leased);
      }
      throw error;
    }
    this.#untold.delete(token);
    return { name: leased.name, holder, token: BigInt(token), ttlMs, since };
  }
}

function refuseOther(
  name: string,
  does: "owns" | "waits for",
  own: Pick<ValidRequest, "weight" | "capacity">,
  asked: ValidRequest,
): void {
  const { weight, capacity } = asked;
  if (own.weight === weight && own.capacity === capacity) return;
  const message = `the holder ${does} ${own.weight} of ${own.capacity} of ${name}, not ${weight} of ${capacity}; release that first, or use another holder`;
  throw new TenonError("conflict", message, { fields: { name, weight, capacity } });
}

/** Rejects with the signal's reason when it aborts first. */
async function unlessAborted(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return promise;
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<void>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", abort);
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
