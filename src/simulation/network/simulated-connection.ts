import { type Address, type Connection, NetworkError } from "../../world/world.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import type { DeathManner, SimulatedProcess } from "../simulated-process.ts";
import { BlockingCall } from "./blocking-call.ts";
import { localMs, type NetworkHost, type NetworkMedium } from "./network-medium.ts";
import type { SimulatedStream, StreamSink, StreamSource } from "./simulated-stream.ts";

export interface ConnectionParts {
  readonly medium: NetworkMedium;
  readonly generator: SeededGenerator;
  readonly host: NetworkHost;
  readonly process: SimulatedProcess;
  readonly remote: Address;
  readonly out: SimulatedStream;
  /** Hands it to whoever listens; `false` when nobody does any more. */
  readonly accept: (connection: Connection) => boolean;
  /** Its kernel has forgotten it; whoever keeps it may do so too. */
  readonly left: () => void;
  readonly into: SimulatedStream;
}

interface WaitingWrite {
  /** `undefined` ends the stream. */
  readonly bytes: Uint8Array | undefined;
  sentBytes: number;
  readonly call: BlockingCall<void>;
}

/** One side of a connection: what the process holds, and what its kernel keeps for it. */
export class SimulatedConnection implements Connection, StreamSource, StreamSink {
  readonly remote: Address;
  readonly #parts: ConnectionParts;
  readonly #received: Uint8Array[] = [];
  #remoteEnded = false;
  #reading: BlockingCall<Uint8Array | undefined> | undefined;
  readonly #writes: WaitingWrite[] = [];
  #lastReturnAt = 0;
  #closing: Promise<void> | undefined;
  #endSent = false;
  #known = true;
  #failure: NetworkError | undefined;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    this.remote = parts.remote;
  }

  write(bytes: Uint8Array): Promise<void> {
    const { process } = this.#parts;
    if (!process.alive) return never();
    const label = `write ${bytes.byteLength} bytes to ${this.#peer}`;
    const failure = this.#failure ?? (this.#closing && this.#broken("its stream was closed before"));
    if (failure !== undefined) return this.#refuse(label, failure);
    const call = new BlockingCall<void>(process, label);
    this.#writes.push({ bytes, sentBytes: 0, call });
    this.#transmit();
    return call.promise;
  }

  read(): Promise<Uint8Array | undefined> {
    const { process } = this.#parts;
    if (!process.alive) return never();
    if (this.#reading !== undefined)
      return Promise.reject(new Error(`read from ${this.#peer}: another read is under way`));
    this.#reading = new BlockingCall(process, `read from ${this.#peer}`);
    const { promise } = this.#reading;
    this.#wakeReader();
    return promise;
  }

  close(): Promise<void> {
    const { process } = this.#parts;
    if (!process.alive) return never();
    if (this.#closing === undefined) {
      const call = new BlockingCall<void>(process, `close the connection to ${this.#peer}`);
      this.#closing = call.promise;
      if (this.#known) {
        this.#writes.push({ bytes: undefined, sentBytes: 0, call });
        this.#transmit();
      } else {
        this.#return(call, () => {});
      }
    }
    return this.#closing;
  }

  destroy(): void {
    if (!this.#known) return;
    this.#leave(this.#lastManner(), "it was destroyed on this side");
  }

  get known(): boolean {
    return this.#known;
  }

  get waiting(): boolean {
    return this.#writes.length > 0;
  }

  /** What it was made for is seen by the one who listens. */
  opened(): void {
    if (!this.#parts.accept(this)) this.#leave("reset", "nobody listens any more");
  }

  received(bytes: Uint8Array): void {
    this.#received.push(bytes);
    this.#wakeReader();
  }

  ended(): void {
    this.#remoteEnded = true;
    this.#wakeReader();
    this.#endInOrder();
  }

  roomGrew(): void {
    this.#transmit();
  }

  acknowledged(): void {
    this.#endInOrder();
  }

  broke(reason: string): void {
    this.#leave("silence", reason);
  }

  /** Its side forgets it, and the other side is not told. */
  forget(): void {
    this.#leave("silence", "it was forgotten on this side");
  }

  /** The process has died; what the other side hears is its kernel's doing, unless that died too. */
  die(manner: DeathManner): void {
    if (manner === "process") this.#leave(this.#lastManner(), "the process has died");
    else this.#leave("silence", "the machine has died");
  }

  get #peer(): string {
    return `${this.remote.host}:${this.remote.port}`;
  }

  /** Kernels end the stream of a socket that was given up, unless something is unread or unsent: then they reset it. */
  #lastManner(): "reset" | "end" {
    const { settings } = this.#parts.medium;
    const clean = this.#received.length === 0 && this.#writes.length === 0;
    return clean && this.#parts.generator.chance(settings.quietEndChance ?? 0) ? "end" : "reset";
  }

  /** Takes what waits into the bounded buffer, as far as there is room. */
  #transmit(): void {
    const { out } = this.#parts;
    for (;;) {
      const first = this.#writes[0];
      if (first === undefined) return;
      if (first.bytes === undefined) {
        this.#endSent = true;
        out.end();
      } else {
        const part = first.bytes.slice(first.sentBytes, first.sentBytes + Math.max(out.roomBytes, 0));
        if (part.byteLength > 0) out.send(part);
        first.sentBytes += part.byteLength;
        if (first.sentBytes < first.bytes.byteLength) break;
      }
      this.#writes.shift();
      this.#return(first.call, () => {});
    }
    out.probe();
  }

  #wakeReader(): void {
    const ready = this.#received.length > 0 || this.#remoteEnded || this.#failure !== undefined;
    if (this.#reading === undefined || !ready) return;
    this.#reading.returns(localMs(this.#parts.generator), () => {
      this.#reading = undefined;
      return this.#take();
    });
  }

  /** Everything that has arrived, or some of it. */
  #take(): Uint8Array | undefined {
    const { generator, medium, into } = this.#parts;
    if (this.#received.length > 0) {
      const all = this.#received.length === 1 ? this.#received[0]! : concatenate(this.#received);
      this.#received.length = 0;
      const partial = all.byteLength > 1 && generator.chance(medium.settings.splitChance);
      const bytes = partial ? all.subarray(0, generator.integer(1, all.byteLength - 1)) : all;
      if (partial) this.#received.push(all.subarray(bytes.byteLength));
      into.read(bytes.byteLength);
      return bytes;
    }
    if (this.#remoteEnded) return undefined;
    throw this.#failure ?? this.#broken("it ended");
  }

  /** Both sides have ended their streams, and ours has arrived: nothing is left open. */
  #endInOrder(): void {
    if (!this.#known || !this.#endSent || !this.#remoteEnded || !this.#parts.out.atRest) return;
    this.#known = false;
    this.#parts.left();
  }

  #leave(manner: "reset" | "end" | "silence", reason: string): void {
    if (!this.#known) return;
    this.#known = false;
    const failure = this.#broken(reason);
    this.#failure = failure;
    if (this.#received.length > 0) {
      this.#received.length = 0;
      this.#remoteEnded = false;
    }
    this.#wakeReader();
    for (const { call } of this.#writes) {
      this.#return(call, () => {
        throw failure;
      });
    }
    this.#writes.length = 0;
    if (manner !== "end") this.#parts.out.abandon(manner);
    else if (!this.#endSent) this.#parts.out.end();
    this.#parts.left();
  }

  /** Calls that write return in the order in which they were made. */
  #return(call: BlockingCall<void>, effect: () => void): void {
    const { nowMs } = this.#parts.medium.timeLine;
    this.#lastReturnAt = Math.max(this.#lastReturnAt, nowMs + localMs(this.#parts.generator));
    call.returns(this.#lastReturnAt - nowMs, effect);
  }

  #refuse(label: string, failure: NetworkError): Promise<never> {
    const delayMs = localMs(this.#parts.generator);
    return this.#parts.process.call<never>({
      label,
      delayMs,
      effect: () => {
        throw failure;
      },
    });
  }

  #broken(reason: string): NetworkError {
    return new NetworkError("broken", this.remote, `cannot use the connection to ${this.#peer}: ${reason}`);
  }
}

/** A dead process hears nothing. */
export function never(): Promise<never> {
  return new Promise(() => {});
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.byteLength;
  }
  return bytes;
}
