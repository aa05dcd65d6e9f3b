import type { Connection } from "../../world/world.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import type { DeathManner, SimulatedProcess } from "../simulated-process.ts";
import type { NetworkHost, NetworkMedium } from "./network-medium.ts";
import { SimulatedConnection } from "./simulated-connection.ts";
import { SimulatedStream } from "./simulated-stream.ts";

export interface LinkParts {
  readonly id: number;
  readonly medium: NetworkMedium;
  readonly generator: SeededGenerator;
  readonly client: { readonly host: NetworkHost; readonly process: SimulatedProcess };
  readonly server: { readonly host: NetworkHost; readonly process: SimulatedProcess; readonly port: number };
  readonly accept: (connection: Connection) => boolean;
  /** Neither side knows it any more, and nothing of it is on its way. */
  readonly over: (link: NetworkLink) => void;
}

/** A connection with its two sides and the two streams between them. */
export class NetworkLink {
  readonly id: number;
  readonly from: string;
  readonly to: string;
  readonly client: SimulatedConnection;
  readonly server: SimulatedConnection;
  readonly #parts: LinkParts;
  readonly #there: SimulatedStream;
  readonly #back: SimulatedStream;

  constructor(parts: LinkParts) {
    this.#parts = parts;
    const { id, medium, generator, client, server } = parts;
    this.id = id;
    this.from = client.host.name;
    this.to = server.host.name;
    const [near, far] = [this.from, `${this.to}:${server.port}`];
    const [label, backLabel] = [`${near} -> ${far} #${id}`, `${far} -> ${near} #${id}`];
    const rested = (): void => this.#tidy();
    const shared = { medium, generator, rested };
    this.#there = new SimulatedStream({ ...shared, from: client.host, to: server.host, label, backLabel });
    this.#back = new SimulatedStream({
      ...shared,
      from: server.host,
      to: client.host,
      label: backLabel,
      backLabel: label,
    });
    this.client = new SimulatedConnection({
      ...{ medium, generator, host: client.host, process: client.process, out: this.#there, into: this.#back },
      remote: { host: this.to, port: server.port },
      accept: () => true,
      left: rested,
    });
    this.server = new SimulatedConnection({
      ...{ medium, generator, host: server.host, process: server.process, out: this.#back, into: this.#there },
      remote: { host: this.from, port: client.host.freePort() },
      accept: parts.accept,
      left: rested,
    });
    this.#there.join(this.client, this.server);
    this.#back.join(this.server, this.client);
  }

  /** Whether a side still knows it. */
  get known(): boolean {
    return this.client.known || this.server.known;
  }

  /** The client knows that it is connected; the server is going to. */
  open(): void {
    this.#there.open();
  }

  review(): void {
    this.#there.review();
    this.#back.review();
  }

  cut(manner: "reset" | "half-open"): void {
    if (manner === "reset") {
      this.#there.injectReset();
      this.#back.injectReset();
    } else {
      this.server.forget();
      this.review();
    }
  }

  /** A process has died on a host. */
  mourn(host: NetworkHost, process: SimulatedProcess, manner: DeathManner): void {
    const { client, server } = this.#parts;
    if (client.process === process) this.client.die(manner);
    if (server.process === process) this.server.die(manner);
    if (manner === "process") return;
    // What the kernel was still delivering for nobody ends with it.
    if (client.host === host) this.#there.abandon("silence");
    if (server.host === host) this.#back.abandon("silence");
  }

  #tidy(): void {
    if (this.known || !this.#there.atRest || !this.#back.atRest) return;
    this.#parts.over(this);
  }
}
