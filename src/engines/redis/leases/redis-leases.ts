import type { TenonError } from "../../../contracts/errors.ts";
import { type ValidRequest, validRequest, validText, validTtl } from "../../../contracts/lease-requests.ts";
import type {
  Lease,
  LeaseCapabilities,
  LeaseDescription,
  LeaseEngine,
  LeaseHolder,
  LeaseInstant,
  LeaseRequest,
} from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import type { Answer } from "../../shared/leases/acquisition.ts";
import { Acquisitions, differs, notHeld } from "../../shared/leases/acquisitions.ts";
import { watchLease } from "../../shared/leases/lease-watch.ts";
import type { DirectConnection } from "../connection.ts";
import { asRead } from "../failures.ts";
import { type LeaseName, LeaseNames, ownerOf, shareOf, ttlOf } from "./names.ts";
import { Offers } from "./offers.ts";
import { LeaseOperations, type OperationAnswer } from "./operations.ts";
import { describe } from "./scripts.ts";

export interface LeaseSettings {
  readonly world: World;
  /** Before every key, such as `tenon`. */
  readonly prefix: string;
  readonly survives: LeaseCapabilities["survives"];
}

/**
 * Leases on Redis: one round trip per operation, by the server's clock, and one script for those that are asked for together. Who waits has a place in a queue there, is told by a published
 * message when its turn has come, and asks again now and then, by which the server knows that it is still there.
 */
export class RedisLeases implements LeaseEngine {
  readonly capabilities: LeaseCapabilities;
  readonly #connection: DirectConnection;
  readonly #world: World;
  readonly #names: LeaseNames;
  /** Where this engine hears that somebody's turn has come. */
  readonly #channel: string;
  readonly #operations: LeaseOperations;
  readonly #acquisitions: Acquisitions;
  readonly #ended = new AbortController();
  /** Why it has ended. Asking a signal costs more than asking this. */
  #closedBy: TenonError | undefined;
  #listening: Promise<unknown> | undefined;
  #listens = false;

  constructor(connection: DirectConnection, { world, prefix, survives }: LeaseSettings) {
    this.#connection = connection;
    this.#world = world;
    this.#channel = `${prefix}:leases:${world.random.uuid()}`;
    this.#operations = new LeaseOperations(connection);
    this.#acquisitions = new Acquisitions({
      world,
      asking: (name) => {
        const known = this.#names.of(name);
        return (request, waits) => this.#ask(known, request, waits);
      },
      leave: (name, holder, what) => this.#release(this.#names.of(name), holder, what),
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
    this.#names = new LeaseNames(prefix, this.capabilities.nameBytesMax);
  }

  async acquire(
    name: string,
    request: LeaseRequest,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<Lease | undefined> {
    this.#throwIfClosed();
    this.#names.of(name);
    const asked = validRequest(request, this.capabilities);
    const { signal } = options;
    signal?.throwIfAborted();
    if (asked.waitMs > 0 && !this.#listens) {
      await this.#listen();
      this.#throwIfClosed();
      signal?.throwIfAborted();
    }
    // Awaited here: handing on the promise takes the loop two further rounds of microtasks.
    return await this.#acquisitions.acquire(name, asked, signal);
  }

  async renew(lease: Lease, ttlMs: number = lease.ttlMs): Promise<Lease> {
    this.#throwIfClosed();
    const { name, holder, token } = lease;
    const { key, channel } = this.#names.of(name);
    validTtl(ttlMs, this.capabilities);
    const since = this.#now();
    const args = ["n", channel, ownerOf(holder), String(token), ttlOf({ ttlMs })];
    const renewed = await this.#operations.run(key, args);
    if (renewed === 1) return { name, holder, token, ttlMs, since };
    throw notHeld(lease);
  }

  async release(name: string, holder: string): Promise<void> {
    this.#throwIfClosed();
    const known = this.#names.of(name);
    validText("holder", holder, 1, this.capabilities.nameBytesMax);
    this.#acquisitions.give(name, holder);
    await this.#release(known, holder, "all");
  }

  async describe(name: string): Promise<LeaseDescription> {
    this.#throwIfClosed();
    return (await this.#describe(this.#names.of(name))).description;
  }

  async *watch(
    name: string,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<LeaseDescription> {
    this.#throwIfClosed();
    const known = this.#names.of(name);
    const parts = {
      world: this.#world,
      describe: () => this.#describe(known),
      listen: (changed: () => void) => this.#connection.listen(known.channel, changed),
      ended: this.#ended.signal,
    };
    yield* watchLease(parts, options.signal);
  }

  /** Nobody waits from now on. What is under way ends before it resolves, as far as the server answers soon. */
  async close(reason: TenonError): Promise<void> {
    if (this.#closedBy !== undefined) return;
    this.#closedBy = reason;
    this.#ended.abort(reason);
    await this.#acquisitions.end(reason);
  }

  async #ask({ name, key, channel }: LeaseName, request: ValidRequest, waits: boolean): Promise<Answer> {
    const { holder, ttlMs } = request;
    const since = this.#now();
    const args = ["a", channel, ownerOf(holder), shareOf(request), ttlOf(request), waits ? this.#channel : ""];
    const answer = (await this.#operations.run(key, args)) as readonly number[] | number;
    if (typeof answer === "number") {
      return { type: "granted", lease: { name, holder, token: BigInt(answer), ttlMs, since }, isNew: true };
    }
    const [what, figure = 0, capacityOwned = 0] = answer;
    switch (what) {
      case 0:
        return { type: "refused" };
      case 2:
        return { type: "granted", lease: { name, holder, token: BigInt(figure), ttlMs, since }, isNew: false };
      case 3:
        return { type: "waiting", askAgainMs: Math.max(1, figure) };
      default:
        throw differs(name, what === 4 ? "owns" : "waits for", figure, capacityOwned, request);
    }
  }

  #release(known: LeaseName, holder: string, what: "place" | "all"): Promise<unknown> {
    const { name, key, channel } = known;
    const waiting = what === "all" ? this.#acquisitions.of(name) : undefined;
    const offers = waiting && Offers.to(waiting);
    if (offers !== undefined) return this.#handOver(known, holder, offers);
    return this.#operations.run(key, [what === "place" ? "p" : "r", channel, ownerOf(holder)]);
  }

  async #handOver({ name, key, channel }: LeaseName, holder: string, offers: Offers): Promise<void> {
    const since = this.#now();
    let answer: OperationAnswer;
    try {
      answer = await this.#operations.run(key, ["h", channel, ownerOf(holder), ...offers.args]);
    } catch (error) {
      offers.lose();
      throw error;
    }
    offers.grant(name, typeof answer === "number" ? [] : (answer as readonly number[]), since);
  }

  async #describe({
    name,
    key,
  }: LeaseName): Promise<{ readonly description: LeaseDescription; readonly nextEndMs: number }> {
    const reply = (await this.#connection.run(describe, [key], []).catch(asRead)) as readonly [number, ...Buffer[]];
    const [waiting, now, ...parts] = reply;
    const holders: LeaseHolder[] = [];
    for (let at = 0; at < parts.length; at += 5) {
      const [holder, token, weight, expiresAt, data] = parts.slice(at, at + 5).map(String) as [string, ...string[]];
      holders.push({
        holder,
        token: BigInt(token!),
        weight: Number(weight),
        data: data!.startsWith("1") ? data!.slice(1) : undefined,
        expiresAt: Number(expiresAt),
      });
    }
    holders.sort((one, other) => (one.token < other.token ? -1 : 1));
    const nextEnd = Math.min(...holders.map(({ expiresAt }) => expiresAt));
    return { description: { name, holders, waiting }, nextEndMs: Math.max(1, nextEnd - Number(now)) };
  }

  /** Heard before the first place is asked for, so that no call of a turn is missed; what is missed later is asked for. */
  async #listen(): Promise<void> {
    this.#listening ??= this.#connection.listen(this.#channel, (payload) => this.#heard(payload));
    try {
      await this.#listening;
      this.#listens = true;
    } catch (error) {
      this.#listening = undefined;
      throw error;
    }
  }

  #heard(payload: Buffer | undefined): void {
    if (payload === undefined) {
      this.#acquisitions.wakeAll();
      return;
    }
    // The name and the holder, each behind the count of its bytes and a colon.
    const nameFrom = payload.indexOf(":") + 1;
    const nameEnd = nameFrom + Number(payload.toString("latin1", 0, nameFrom - 1));
    const holderFrom = payload.indexOf(":", nameEnd) + 1;
    this.#acquisitions.wake(payload.toString("utf8", nameFrom, nameEnd), payload.toString("utf8", holderFrom));
  }

  #now(): LeaseInstant {
    return { monotonic: this.#world.clock.monotonic(), wall: this.#world.clock.now() };
  }

  #throwIfClosed(): void {
    if (this.#closedBy !== undefined) throw this.#closedBy;
  }
}
