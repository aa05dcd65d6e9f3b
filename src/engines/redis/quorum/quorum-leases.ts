import { crc32 } from "node:zlib";
import { isCode, TenonError } from "../../../contracts/errors.ts";
import { type ValidRequest, validRequest, validText, validTtl } from "../../../contracts/lease-requests.ts";
import {
  type Lease,
  type LeaseCapabilities,
  type LeaseDescription,
  type LeaseEngine,
  type LeaseInstant,
  type LeaseRequest,
  sharedCapacity,
} from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import type { Answer } from "../../shared/leases/acquisition.ts";
import { Acquisitions, notHeld } from "../../shared/leases/acquisitions.ts";
import { watchLease } from "../../shared/leases/lease-watch.ts";
import type { Argument } from "../connection.ts";
import { driftMs } from "./drift.ts";
import { describedBy } from "./quorum-description.ts";
import { QuorumGrant } from "./quorum-grant.ts";
import type { QuorumServers, Votes } from "./quorum-servers.ts";
import { describe, release, renew, reserve, restore } from "./scripts.ts";

export interface QuorumLeaseSettings {
  readonly world: World;
  /** Before every key, such as `tenon`. */
  readonly prefix: string;
  readonly survives: LeaseCapabilities["survives"];
  readonly ttlMsMax: number;
}

/** Shares of so many units, and more of them than anybody has, stay below `sharedCapacity`. */
const shareMax = 2 ** 15;
/** Who waits asks again after a random time, so that two who stood in each other's way do not meet again. */
const askAgainMs = { shortest: 10, longest: 250 };
/** Every so many attempts all servers are asked, whatever the first one says: what it holds may be a remainder. */
const attemptsPerSurvey = 4;
const triesMax = 3;

/**
 * Leases on a majority of independent servers. A grant takes two rounds: a majority reserves the name, then a majority confirms it under
 * a token that none of them has seen a greater one of. What a minority holds is nobody's, and ends with its time.
 */
export class QuorumLeases implements LeaseEngine {
  readonly capabilities: LeaseCapabilities;
  readonly #servers: QuorumServers;
  readonly #world: World;
  readonly #prefix: string;
  readonly #acquisitions: Acquisitions;
  readonly #ended = new AbortController();
  /** Renewals whose other servers are still to be told; a release calls that off. */
  readonly #restoring = new Set<{ readonly name: string; readonly holder: string; isOff: boolean }>();

  constructor(servers: QuorumServers, { world, prefix, survives, ttlMsMax }: QuorumLeaseSettings) {
    this.#servers = servers;
    this.#world = world;
    this.#prefix = prefix;
    this.#acquisitions = new Acquisitions({
      world,
      asking: (name) => {
        let attempts = 0;
        return (request, waits, isOver) => this.#ask(name, request, waits, isOver, ++attempts);
      },
      // Between two attempts nothing is reserved.
      leave: async (name, holder, what) => {
        if (what === "all") await this.#release(name, holder);
      },
    });
    this.capabilities = {
      survives,
      fifo: false,
      counted: false,
      expiryLatenessMs: Math.ceil(driftMs(ttlMsMax)) + 1_000,
      ttlMsMin: 50,
      ttlMsMax,
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
    checkCountable(asked);
    options.signal?.throwIfAborted();
    return this.#acquisitions.acquire(name, asked, options.signal);
  }

  async renew(lease: Lease, ttlMs: number = lease.ttlMs): Promise<Lease> {
    this.#throwIfClosed();
    this.#checkName(lease.name);
    validTtl(ttlMs, this.capabilities);
    const { renewed, votes } = await this.#renew(lease, ttlMs, "");
    if (renewed !== undefined) return renewed;
    if (cannotHold(votes)) throw notHeld(lease);
    throw this.#servers.unavailable(`renewing ${lease.name}`, votes);
  }

  async release(name: string, holder: string): Promise<void> {
    this.#throwIfClosed();
    this.#checkName(name);
    validText("holder", holder, 1, this.capabilities.nameBytesMax);
    this.#acquisitions.give(name, holder);
    await this.#release(name, holder);
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
    const parts = {
      world: this.#world,
      describe: () => this.#describe(name),
      listen: (changed: () => void) => this.#servers.listen(this.#channelOf(name), changed),
      ended: this.#ended.signal,
    };
    yield* watchLease(parts, options.signal);
  }

  /** Nobody waits from now on. What is under way ends before it resolves, as far as the servers answer soon. */
  async close(reason: TenonError): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort(reason);
    await this.#acquisitions.end(reason);
  }

  /** One attempt. */
  async #ask(
    name: string,
    request: ValidRequest,
    waits: boolean,
    isOver: () => boolean,
    attempts: number,
  ): Promise<Answer> {
    const grant = new QuorumGrant({
      world: this.#world,
      servers: this.#servers,
      name,
      request,
      keys: this.#keysOf(name),
      channel: this.#channelOf(name),
      isOver,
    });
    if (attempts > 1 && attempts % attemptsPerSurvey !== 0 && (await this.#isTaken(name, grant))) {
      return this.#declined(waits, attempts);
    }
    // On a busy machine a short time to live may have passed between the two rounds.
    for (let tries = 0; tries < triesMax && !isOver(); tries++) {
      const found = await grant.reserve();
      if (found.type === "declined" || isOver()) break;
      const lease =
        found.type === "held" ? await this.#renewHeld(grant, found.token) : await this.#confirm(grant, found.token);
      if (lease !== undefined) return { type: "granted", lease, isNew: found.type === "reserved" };
    }
    if (isOver()) grant.giveBack();
    return this.#declined(waits, attempts);
  }

  async #confirm(grant: QuorumGrant, token: bigint): Promise<Lease | undefined> {
    const confirmed = await grant.confirm(token);
    if (confirmed === undefined) return undefined;
    const { weight, capacity } = grant.request;
    const share = [String(weight), String(capacity), grant.data];
    if (!grant.isOver()) void this.#restore(confirmed.lease, confirmed.votes, share);
    return confirmed.lease;
  }

  async #renewHeld({ name, request, data }: QuorumGrant, token: bigint): Promise<Lease | undefined> {
    const { holder, ttlMs } = request;
    return (await this.#renew({ name, holder, token, ttlMs, since: this.#now() }, ttlMs, data)).renewed;
  }

  #declined(waits: boolean, attempts: number): Answer {
    if (!waits) return { type: "refused" };
    const { shortest, longest } = askAgainMs;
    const most = Math.min(longest, shortest * 2 ** Math.min(attempts, 10));
    return { type: "waiting", askAgainMs: shortest + this.#world.random.float() * most };
  }

  /** All who wait for a name ask the same server first: so the name is not reserved by one here and by another there. */
  async #isTaken(name: string, grant: QuorumGrant): Promise<boolean> {
    const { all } = this.#servers;
    const first = crc32(name);
    const asked = all.map((_, index) => all[(first + index) % all.length]!).find((server) => !server.isSuspect);
    if (asked === undefined) return false;
    try {
      const reply = await asked.ask(reserve, this.#keysOf(name), grant.reservation);
      return String(reply[0]) === "no";
    } catch (error) {
      if (isCode(error, "unavailable")) return false;
      throw error;
    }
  }

  async #renew(
    lease: Lease,
    ttlMs: number,
    data: string,
  ): Promise<{ readonly renewed: Lease | undefined; readonly votes: Votes }> {
    const { name, holder, token } = lease;
    const since = this.#now();
    const keys = this.#keysOf(name);
    const keepMs = ttlMs + driftMs(ttlMs);
    const votes = await this.#servers.ask(
      renew,
      keys,
      [holder, String(token), ttlMs, keepMs, data],
      (each) => each.of("ok") >= each.majority || cannotHold(each),
    );
    const renewing = votes.saying("ok");
    if (renewing.length < votes.majority) return { renewed: undefined, votes };
    const renewed = { name, holder, token, ttlMs, since };
    void this.#restore(renewed, votes, renewing[0]![1].slice(1));
    return { renewed, votes };
  }

  /** Servers that do not hold what the majority does get it too, lest the lease be lost with one of the majority. */
  async #restore(
    { name, holder, token, ttlMs, since }: Lease,
    votes: Votes,
    [weight, capacity, data]: readonly Argument[],
  ): Promise<void> {
    const restoring = { name, holder, isOff: false };
    this.#restoring.add(restoring);
    await votes.complete;
    this.#restoring.delete(restoring);
    if (restoring.isOff || this.#world.clock.monotonic() >= since.monotonic + ttlMs) return;
    const without = [...votes.saying("gone"), ...votes.saying("stale")].map(([server]) => server);
    const keepMs = ttlMs + driftMs(ttlMs);
    const args = [holder, String(token), weight!, capacity!, ttlMs, keepMs, data!, this.#channelOf(name)];
    this.#servers.tell(without, restore, this.#keysOf(name), args);
  }

  async #release(name: string, holder: string): Promise<void> {
    for (const each of this.#restoring) if (each.name === name && each.holder === holder) each.isOff = true;
    const args = [holder, this.#channelOf(name), ""];
    const votes = await this.#servers.ask(
      release,
      this.#keysOf(name),
      args,
      (each) => each.replies.size >= each.majority,
    );
    if (votes.replies.size < votes.majority) throw this.#servers.unavailable(`releasing ${name}`, votes);
  }

  async #describe(name: string): Promise<{ readonly description: LeaseDescription; readonly nextEndMs: number }> {
    const votes = await this.#servers.ask(describe, this.#keysOf(name), [], () => false);
    if (votes.replies.size < votes.majority) throw this.#servers.unavailable(`describing ${name}`, votes, true);
    return describedBy(name, votes);
  }

  #keysOf(name: string): readonly string[] {
    return [`${this.#prefix}:quorum:n:${name}`, `${this.#prefix}:quorum:token`];
  }

  #channelOf(name: string): string {
    return `${this.#prefix}:quorum:lease:${name}`;
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

/** So many servers do not hold it that the others are no majority. */
function cannotHold(votes: Votes): boolean {
  return votes.count - votes.of("gone") - votes.away < votes.majority;
}

function checkCountable({ weight, capacity }: ValidRequest): void {
  if (weight === capacity || (capacity === sharedCapacity && weight <= shareMax)) return;
  const message = `A quorum of independent servers cannot count: ${weight} of ${capacity} cannot be had. Ask for all of the capacity, or for at most ${shareMax} of sharedCapacity; or use one Redis.`;
  throw new TenonError("unsupported", message, { fields: { weight, capacity } });
}
