/**
 * A network between hosts of one process that can be cut, held up and lose what is on its way, on the timers of a given world. It does what the `World` says of a
 * network and no more: ordered byte streams that can break.
 */
import { type Address, type Connection, type Listener, type Network, NetworkError, type Timers } from "tenon/world";

interface Listening {
  readonly host: string;
  readonly accept: (connection: Connection) => void;
}

export class BreakableNetwork {
  readonly #timers: Timers;
  readonly #latencyMs: number;
  readonly #listeners = new Map<number, Listening>();
  readonly #ends = new Set<End>();
  readonly #held = new Set<string>();
  readonly #dead = new Set<string>();
  #waiting: (() => void)[] = [];
  #lastPort = 40_000;
  /** How many connections were made. */
  connectionCount = 0;
  /** How many bytes were given to it. */
  handedBytes = 0;

  constructor(timers: Timers, { latencyMs = 1 }: { readonly latencyMs?: number } = {}) {
    this.#timers = timers;
    this.#latencyMs = latencyMs;
  }

  /** The network as one host sees it. */
  host(name: string): Network {
    return {
      listen: async (address, accept) => this.#listen(name, address, accept),
      connect: (address, { signal } = {}) => this.#connect(name, address, signal),
    };
  }

  /** Every connection breaks, and both sides hear of it; what is on its way is lost. */
  cut(): void {
    for (const end of [...this.#ends]) end.break();
  }

  /** What is sent to the host is on its way from now on, until `release`, and can be lost by a cut; nobody hears anything of that. */
  hold(host: string): void {
    this.#held.add(host);
  }

  /** What was held up arrives. */
  release(): void {
    this.#held.clear();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const go of waiting) go();
  }

  /** The host vanishes: the others' connections to it break, and it hears nothing any more. */
  kill(host: string): void {
    this.#dead.add(host);
    for (const [port, { host: owner }] of this.#listeners) if (owner === host) this.#listeners.delete(port);
    for (const end of [...this.#ends]) if (end.host === host) end.peer.break();
  }

  isHeld(host: string): boolean {
    return this.#held.has(host);
  }

  isDead(host: string): boolean {
    return this.#dead.has(host);
  }

  later(fn: () => void): void {
    this.#timers.schedule(this.#latencyMs, fn);
  }

  /** Calls when nothing to the host is held up. */
  whenFree(host: string, fn: () => void): void {
    if (!this.#held.has(host)) fn();
    else this.#waiting.push(() => this.whenFree(host, fn));
  }

  forget(end: End): void {
    this.#ends.delete(end);
  }

  #listen(host: string, address: Address, accept: (connection: Connection) => void): Listener {
    const port = address.port === 0 ? ++this.#lastPort : address.port;
    if (this.#listeners.has(port)) throw new NetworkError("occupied", address, "the port is taken");
    const listening = { host, accept };
    this.#listeners.set(port, listening);
    return {
      address: { host: address.host, port },
      close: async () => {
        if (this.#listeners.get(port) === listening) this.#listeners.delete(port);
      },
    };
  }

  #connect(host: string, address: Address, signal: AbortSignal | undefined): Promise<Connection> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.later(() => {
        const listening = this.#listeners.get(address.port);
        const target = listening?.host ?? "";
        this.whenFree(target, () =>
          this.whenFree(host, () => {
            if (signal?.aborted || this.#dead.has(host)) return;
            if (listening === undefined || this.#listeners.get(address.port) !== listening) {
              reject(new NetworkError("refused", address, "nobody listens there"));
              return;
            }
            this.connectionCount += 1;
            const near = new End(this, host, address);
            const far = new End(this, listening.host, { host, port: ++this.#lastPort });
            near.peer = far;
            far.peer = near;
            this.#ends.add(near).add(far);
            listening.accept(far);
            resolve(near);
          }),
        );
      });
    });
  }
}

type Arrival = Uint8Array | "end";

class End implements Connection {
  readonly remote: Address;
  readonly host: string;
  peer!: End;
  readonly #network: BreakableNetwork;
  readonly #arrived: Arrival[] = [];
  readonly #writes = new Set<(reason: NetworkError) => void>();
  #broken: NetworkError | undefined;
  #wake: (() => void) | undefined;

  constructor(network: BreakableNetwork, host: string, remote: Address) {
    this.#network = network;
    this.host = host;
    this.remote = remote;
  }

  /** Resolves when the other side has it: nothing is buffered on the way, so that a sender's own patience is seen. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#broken !== undefined) return Promise.reject(this.#broken);
    this.#network.handedBytes += bytes.length;
    return this.#send(bytes.slice());
  }

  #send(what: Arrival): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#writes.add(reject);
      this.#network.later(() => {
        this.#network.whenFree(this.peer.host, () => {
          if (!this.#writes.delete(reject) || this.#network.isDead(this.host)) return;
          resolve();
          this.peer.arrive(what);
        });
      });
    });
  }

  arrive(what: Arrival): void {
    if (this.#broken !== undefined || this.#network.isDead(this.host)) return;
    this.#arrived.push(what);
    this.#wake?.();
  }

  async read(): Promise<Uint8Array | undefined> {
    for (;;) {
      const next = this.#arrived.shift();
      if (next === "end") {
        this.#arrived.unshift(next);
        return undefined;
      }
      if (next !== undefined) return next;
      if (this.#broken !== undefined) throw this.#broken;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  async close(): Promise<void> {
    if (this.#broken === undefined) await this.#send("end");
  }

  destroy(): void {
    if (this.#broken !== undefined) return;
    this.break();
    this.#network.later(() => this.#network.whenFree(this.peer.host, () => this.peer.break()));
  }

  break(): void {
    if (this.#broken !== undefined) return;
    this.#network.forget(this);
    this.#broken = new NetworkError("broken", this.remote, "the connection broke");
    this.#arrived.length = 0;
    const writes = [...this.#writes];
    this.#writes.clear();
    if (this.#network.isDead(this.host)) return;
    for (const reject of writes) reject(this.#broken);
    this.#wake?.();
  }
}
