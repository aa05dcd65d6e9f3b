import { TenonError } from "../../../contracts/errors.ts";
import { type ValidRequest, validRequest, validText, validTtl } from "../../../contracts/lease-requests.ts";
import type {
  Lease,
  LeaseCapabilities,
  LeaseDescription,
  LeaseEngine,
  LeaseRequest,
} from "../../../contracts/leases.ts";
import type { Cancel, World } from "../../../world/world.ts";
import { nameAndHolder } from "../../shared/leases/name-and-holder.ts";
import { isPassing } from "../../shared/passing.ts";
import { operations } from "../wire/operations.ts";
import type { Grant } from "../wire/state-codecs.ts";
import type { Feeds } from "./feeds.ts";
import type { Link } from "./link.ts";
import { pause } from "./pause.ts";
import { momentOf } from "./session.ts";

const retryMs = 50;
/** A grant that took longer, or a tenth of its time to live, is confirmed, so that its holder may rely on it from then. */
const confirmMs = 100;

/** The `leases` contract of an engine that lives elsewhere. Waiting is done there, in its queue. */
export class RemoteLeases implements LeaseEngine {
  readonly capabilities: LeaseCapabilities;
  readonly #link: Link;
  readonly #feeds: Feeds;
  readonly #world: World;
  readonly #ended = new AbortController();
  /** How many calls are under way, by name and holder. */
  readonly #underWay = new Map<string, number>();

  constructor(link: Link, feeds: Feeds, world: World, capabilities: LeaseCapabilities) {
    this.#link = link;
    this.#feeds = feeds;
    this.#world = world;
    this.capabilities = capabilities;
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
    const key = nameAndHolder(name, asked.holder);
    const isOver = new AbortController();
    const end = () => isOver.abort(signal?.aborted ? signal.reason : this.#ended.signal.reason);
    const cancel = this.#boundedWait(asked.waitMs, isOver);
    for (const each of [signal, this.#ended.signal]) each?.addEventListener("abort", end);
    this.#underWay.set(key, (this.#underWay.get(key) ?? 0) + 1);
    try {
      return await this.#acquire(name, asked, key, isOver.signal);
    } finally {
      cancel?.();
      const left = this.#underWay.get(key)! - 1;
      if (left === 0) this.#underWay.delete(key);
      else this.#underWay.set(key, left);
      for (const each of [signal, this.#ended.signal]) each?.removeEventListener("abort", end);
    }
  }

  /** A server that is connected and does not answer would be waited for without end. */
  #boundedWait(waitMs: number, isOver: AbortController): Cancel | undefined {
    if (waitMs === Number.POSITIVE_INFINITY) return undefined;
    const limitMs = waitMs + this.#link.requestTimeoutMs;
    const end = () => isOver.abort(this.#link.overdue(operations.acquire, limitMs));
    return this.#world.timers.schedule(limitMs, end, { keepsAlive: true });
  }

  /** Asks again after each outage, under the same holder, until the time is over. */
  async #acquire(name: string, asked: ValidRequest, key: string, signal: AbortSignal): Promise<Lease | undefined> {
    const { clock } = this.#world;
    const until = clock.monotonic() + asked.waitMs;
    let mayHaveHappened = false;
    for (;;) {
      try {
        return await this.#ask(name, asked, until, key, signal);
      } catch (error) {
        if (signal.aborted || !isPassing(error) || !(error instanceof TenonError)) throw error;
        mayHaveHappened ||= error.outcome === "unknown";
        if (until - clock.monotonic() <= 0) throw mayHaveHappened ? doubtful(error) : error;
        await pause(this.#world, Math.min(retryMs, until - clock.monotonic()), signal);
        signal.throwIfAborted();
      }
    }
  }

  async #ask(
    name: string,
    asked: ValidRequest,
    until: number,
    key: string,
    signal: AbortSignal,
  ): Promise<Lease | undefined> {
    const once = () => {
      const request = { ...asked, waitMs: Math.max(0, until - this.#world.clock.monotonic()) };
      const late = (grant: Grant | undefined) => this.#giveBack(grant, key);
      return this.#link.call(operations.acquire, { name, request }, { signal, late });
    };
    const since = momentOf(this.#world);
    const granted = await once();
    if (granted === undefined) return undefined;
    const now = momentOf(this.#world);
    const tookMs = Math.max(now.monotonic - since.monotonic, now.wall - since.wall);
    if (tookMs <= Math.min(confirmMs, granted.ttlMs / 10)) return { ...granted, since };
    // It had its turn long after it asked, at a moment that only the server knows. Asked again, the same grant has its full time to live from now.
    const confirmed = await once();
    return confirmed && { ...confirmed, since: now };
  }

  /** Granted to a call that was aborted; nobody else here asked for the same. */
  #giveBack(grant: Grant | undefined, key: string): void {
    if (grant === undefined || this.#underWay.has(key)) return;
    this.#link.send(operations.release, { name: grant.name, holder: grant.holder })?.catch(() => undefined);
  }

  async renew(lease: Lease, ttlMs: number = lease.ttlMs): Promise<Lease> {
    this.#throwIfClosed();
    validTtl(ttlMs, this.capabilities);
    const { name, holder, token } = lease;
    const since = momentOf(this.#world);
    const asked = { lease: { name, holder, token, ttlMs: lease.ttlMs }, ttlMs };
    return { ...(await this.#link.call(operations.renew, asked)), since };
  }

  async release(name: string, holder: string): Promise<void> {
    this.#throwIfClosed();
    this.#checkName(name);
    validText("holder", holder, 1, this.capabilities.nameBytesMax);
    await this.#link.call(operations.release, { name, holder });
  }

  async describe(name: string): Promise<LeaseDescription> {
    this.#throwIfClosed();
    return this.#link.call(operations.describeLease, name);
  }

  async *watch(
    name: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<LeaseDescription> {
    let shown: string | undefined;
    for await (const part of this.#feeds.open(operations.watchLease, { name }, options.signal)) {
      if (part === "begins") continue;
      for (const description of part) {
        const state = description.holders.map(({ holder, token }) => `${token} ${holder}`).join("\n");
        if (state === shown) continue;
        shown = state;
        yield description;
      }
    }
  }

  #checkName(name: string): void {
    validText("the name of a lease", name, 1, this.capabilities.nameBytesMax);
  }

  #throwIfClosed(): void {
    this.#ended.signal.throwIfAborted();
  }

  close(reason: TenonError): void {
    this.#ended.abort(reason);
  }
}

/** The last attempt was not made, but an earlier one may have been granted. */
function doubtful(error: TenonError): TenonError {
  if (error.outcome === "unknown") return error;
  const message = `${error.message} An earlier attempt may have been granted; release it, or repeat it under the same holder.`;
  return new TenonError(error.code, message, { outcome: "unknown", fields: error.fields, cause: error.cause });
}
