/**
 * What an engine must do to carry leases: expiring ownership of a name, exclusive or counted, with a fencing token that only grows.
 *
 * A holder owns a *weight* of a name until it releases it or its time to live ends. Every grant gets a token greater than
 * that of every earlier grant of the name, also across restarts of the engine and of holders, and after the name was free in between.
 * An engine that has given a lease away can never take it back from a process that is paused: what must not happen under a lost lease is to be
 * guarded by the token. Every failure is a `TenonError`; engines do not retry.
 */
export interface LeaseEngine {
  readonly capabilities: LeaseCapabilities;

  /**
   * Grants `weight` of the name to `holder`, at once or after waiting its turn; `undefined` when `waitMs` has passed and it was not granted.
   * Durable, as `capabilities.survives` says, when it resolves with a lease.
   *
   * A holder that already owns the name gets the same grant again, with the same token and its full time to live: so an acquisition
   * whose reply was lost (`outcome: "unknown"`) is repeated, or released, under the same holder. `conflict` when it owns it with
   * another weight or capacity. A request that is repeated while it waits shares its place in the queue; so it may be asked by several, each with
   * its own `waitMs` and `signal`.
   *
   * Granted when what is held and the request's weight fit into the request's capacity. Where `capabilities.fifo`, those who wait are granted in the
   * order of their requests: nobody overtakes, a lighter request neither. One that stops waiting (`waitMs`, `signal`, or its
   * process vanished) leaves the queue, and those behind it move up. Rejects with the signal's reason when it aborts; then
   * the name is not held, or will be free again after `ttlMs` at the latest.
   */
  acquire(
    name: string,
    request: LeaseRequest,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<Lease | undefined>;

  /**
   * The full time to live again from now, or another one. The token stays. `lost` when the holder does not own the name any more: it ended,
   * or was released. Durable when it resolves.
   */
  renew(lease: Lease, ttlMs?: number): Promise<Lease>;

  /**
   * Gives up what the holder owns of the name, or its place among those who wait for it, and wakes those who wait. No error when it
   * has nothing any more. Durable when it resolves.
   */
  release(name: string, holder: string): Promise<void>;

  /** As of one instant; a name that nobody ever asked for has no holders and nobody waiting. */
  describe(name: string): Promise<LeaseDescription>;

  /**
   * First the present state, then the state after each change of its holders; a renewal alone is none. Changes may be merged; the last state
   * is never left out. The end of a time to live shows at most `capabilities.expiryLatenessMs` late. Ends when the signal aborts;
   * throws `closed` when the engine closes.
   */
  watch(name: string, options?: { readonly signal?: AbortSignal | undefined }): AsyncIterable<LeaseDescription>;
}

export interface LeaseCapabilities {
  /** What a grant, and the growth of tokens, survives. */
  readonly survives: "nothing" | "process" | "machine" | "replicas";
  /** Whether those who wait are granted in the order of their requests. */
  readonly fifo: boolean;
  /**
   * Whether any weight and capacity can be had. Where not (a quorum of independent servers cannot count), a request's weight is its capacity, or
   * its capacity is `sharedCapacity`; else `unsupported`.
   */
  readonly counted: boolean;
  /** How long after its end a lease may still keep others from the name, in milliseconds, on an idle engine. */
  readonly expiryLatenessMs: number;
  readonly ttlMsMin: number;
  readonly ttlMsMax: number;
  /** In bytes of UTF-8; also for a holder. */
  readonly nameBytesMax: number;
  /** In bytes of UTF-8. */
  readonly dataBytesMax: number;
}

/** A capacity that nobody reaches: shares of weight 1 exclude only who takes all of it. What a read-write lock is made of. */
export const sharedCapacity = 2 ** 31 - 1;

export interface LeaseRequest {
  /** Unique for every attempt to own the name; a repeated attempt carries the same. */
  readonly holder: string;
  /** From the grant on. */
  readonly ttlMs: number;
  /** How long to wait for the grant; 0: only at once. At most 2^31 - 1; `Infinity` waits for ever. */
  readonly waitMs: number;
  /** How much of the name there is together, 1 to `sharedCapacity`; 1 when left out. Each request is judged by its own. */
  readonly capacity?: number | undefined;
  /** 1 to `capacity`; 1 when left out. */
  readonly weight?: number | undefined;
  /** Shown to everybody who describes or watches the name. */
  readonly data?: string | undefined;
}

export interface Lease {
  readonly name: string;
  readonly holder: string;
  /** Fits a signed 64-bit integer; at least 1. */
  readonly token: bigint;
  readonly ttlMs: number;
  /**
   * The holder's clocks just before the request was sent that granted or renewed it. It may rely on the lease for `ttlMs` from then, by whichever of
   * the two clocks has gone further.
   */
  readonly since: LeaseInstant;
}

export interface LeaseInstant {
  /** `world.clock.monotonic()` */
  readonly monotonic: number;
  /** `world.clock.now()` */
  readonly wall: number;
}

export interface LeaseDescription {
  readonly name: string;
  /** By token. */
  readonly holders: readonly LeaseHolder[];
  /** How many requests wait; 0 where the engine cannot tell. */
  readonly waiting: number;
}

export interface LeaseHolder {
  readonly holder: string;
  readonly token: bigint;
  readonly weight: number;
  readonly data: string | undefined;
  /** ms since the epoch, by the engine's clock. */
  readonly expiresAt: number;
}
