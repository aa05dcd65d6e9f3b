import { type Address, type Connection, NetworkError, type NetworkFailure } from "../../world/world.ts";
import type { SimulatedEvent } from "../event-queue.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import type { SimulatedProcess } from "../simulated-process.ts";
import { BlockingCall } from "./blocking-call.ts";
import { localMs, type NetworkHost, type NetworkMedium, type OpenPort } from "./network-medium.ts";

/** When an unanswered attempt is made again, for the first time; then after twice as long each time. */
const FIRST_REPETITION_MS = 1_000;

export interface ConnectingParts {
  readonly medium: NetworkMedium;
  readonly generator: SeededGenerator;
  readonly from: NetworkHost;
  readonly process: SimulatedProcess;
  /** `undefined`: no host of this name. */
  readonly to: NetworkHost | undefined;
  readonly address: Address;
  readonly signal: AbortSignal | undefined;
  readonly established: (port: OpenPort) => Connection;
}

/** An attempt to connect, until somebody answers or the kernel gives up. */
export class Connecting {
  readonly #parts: ConnectingParts;
  readonly #call: BlockingCall<Connection>;
  readonly #name: string;
  readonly #deadline: SimulatedEvent;
  readonly #forgetProcess: () => void;
  readonly #onAbort = (): void => this.#abort();
  #next: SimulatedEvent | undefined;
  #repetitionMs = FIRST_REPETITION_MS;
  #connection: Connection | undefined;

  constructor(parts: ConnectingParts) {
    this.#parts = parts;
    const { medium, process, address, signal, from } = parts;
    this.#name = `${address.host}:${address.port}`;
    this.#call = new BlockingCall(process, `connect to ${this.#name}`);
    const label = `${from.name} -> ${this.#name} given up`;
    const { connectGiveUpMs } = medium.settings;
    this.#deadline = medium.timeLine.schedule(connectGiveUpMs, label, () =>
      this.#fail("unreachable", "nobody answers"),
    );
    this.#forgetProcess = process.whenDead(() => this.#cease());
    signal?.addEventListener("abort", this.#onAbort, { once: true });
    if (parts.to === undefined) this.#ask();
    else this.#knock(parts.to);
  }

  get promise(): Promise<Connection> {
    return this.#call.promise;
  }

  /** Nobody knows the name; finding that out takes a way there and back. */
  #ask(): void {
    const { from } = this.#parts;
    this.#travel(from, undefined, `${from.name} looks for ${this.#name}`, () =>
      this.#fail("unreachable", "there is no such host"),
    );
  }

  #knock(to: NetworkHost): void {
    const { medium, from } = this.#parts;
    this.#travel(from, to, `${from.name} -> ${this.#name} connect`, () => {
      const port = to.ports.get(this.#parts.address.port);
      if (!medium.reaches(from, to)) this.#knockAgain(to);
      else this.#answer(to, port?.loopbackOnly === true && from !== to ? undefined : port);
    });
  }

  #answer(to: NetworkHost, port: OpenPort | undefined): void {
    const { medium, from } = this.#parts;
    const answer = port === undefined ? "refuse" : "accept";
    this.#travel(to, from, `${this.#name} -> ${from.name} ${answer}`, () => {
      if (!medium.reaches(to, from)) this.#knockAgain(to);
      else if (port === undefined) this.#fail("refused", "nobody listens there");
      else this.#establish(port);
    });
  }

  #knockAgain(to: NetworkHost): void {
    const { timeLine } = this.#parts.medium;
    const label = `${this.#parts.from.name} -> ${this.#name} tries again`;
    this.#next = timeLine.schedule(this.#repetitionMs, label, () => this.#knock(to));
    this.#repetitionMs *= 2;
  }

  #travel(from: NetworkHost, to: NetworkHost | undefined, label: string, arrive: () => void): void {
    const { medium, generator } = this.#parts;
    const oneWayMs = to === undefined ? undefined : medium.latencyMs(generator, from, to);
    // Nobody else has drawn for a host that is not there.
    const delayMs = oneWayMs ?? medium.settings.latencyMs.min + medium.settings.latencyMs.max;
    this.#next = medium.timeLine.schedule(delayMs, label, arrive);
  }

  #establish(port: OpenPort): void {
    this.#connection = this.#parts.established(port);
    this.#return(() => this.#connection!);
  }

  #fail(failure: NetworkFailure, reason: string): void {
    const message = `cannot connect to ${this.#name}: ${reason}`;
    this.#return(() => {
      throw new NetworkError(failure, this.#parts.address, message);
    });
  }

  #return(effect: () => Connection): void {
    this.#cease();
    this.#call.returns(localMs(this.#parts.generator), () => {
      this.#parts.signal?.removeEventListener("abort", this.#onAbort);
      return effect();
    });
  }

  #abort(): void {
    const { process, signal } = this.#parts;
    if (!process.alive) return;
    this.#cease();
    this.#connection?.destroy();
    this.#call.abort(signal?.reason);
  }

  /** Nothing happens of itself any more. */
  #cease(): void {
    const { timeLine } = this.#parts.medium;
    timeLine.cancel(this.#deadline);
    if (this.#next !== undefined) timeLine.cancel(this.#next);
    this.#forgetProcess();
  }
}
