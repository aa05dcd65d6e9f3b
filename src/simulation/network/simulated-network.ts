import { type Address, type Connection, type Listener, type Network, NetworkError } from "../../world/world.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import type { DeathManner, SimulatedProcess } from "../simulated-process.ts";
import type { TimeLine } from "../time-line.ts";
import { Connecting } from "./connecting.ts";
import {
  type ConnectionInfo,
  calmNetwork,
  type NetworkSettings,
  type SimulatedNetworkControl,
} from "./network-control.ts";
import { NetworkLink } from "./network-link.ts";
import { localMs, NetworkHost, NetworkMedium, type OpenPort } from "./network-medium.ts";
import { never } from "./simulated-connection.ts";

const LOOPBACK = ["localhost", "127.0.0.1", "::1"];
const EVERYWHERE = ["0.0.0.0", "::"];

export interface SimulatedNetworkParts {
  readonly timeLine: TimeLine;
  readonly generator: SeededGenerator;
  readonly settings?: NetworkSettings | undefined;
}

/**
 * The network between simulated machines: ordered streams of bytes like TCP's. Whatever arrives is an event of the time line; whatever a process hears of it is an
 * event of that process.
 */
export class SimulatedNetwork {
  readonly control: SimulatedNetworkControl;
  /** For faults. */
  readonly struck: StruckWays;
  readonly #medium: NetworkMedium;
  readonly #generator: SeededGenerator;
  readonly #hosts = new Map<string, NetworkHost>();
  /** By id, in the order in which they were made. */
  readonly #links = new Map<number, NetworkLink>();
  #linkCount = 0;

  constructor(parts: SimulatedNetworkParts) {
    this.#medium = new NetworkMedium(parts.timeLine, parts.settings ?? calmNetwork);
    this.#generator = parts.generator;
    this.control = new NetworkControl(this.#medium, this.#links);
    this.struck = this.#medium.struckWays;
  }

  /** The network as this incarnation of the host's process sees it; from then on the host's machine is up. Called once per incarnation. */
  of(name: string, process: SimulatedProcess): Network {
    const host = this.#hosts.get(name) ?? new NetworkHost(name, this.#generator.fork());
    this.#hosts.set(name, host);
    if (host.process?.alive) this.#die(host, host.process, "process");
    host.process = process;
    host.up = true;
    process.whenDead((manner) => this.#die(host, process, manner));
    this.#review();
    return {
      listen: (address, accept) => this.#listen(host, process, address, accept),
      connect: (address, options = {}) => this.#connect(host, process, address, options.signal ?? undefined),
    };
  }

  async #listen(
    host: NetworkHost,
    process: SimulatedProcess,
    address: Address,
    accept: (connection: Connection) => void,
  ): Promise<Listener> {
    const name = `${address.host}:${address.port}`;
    const loopbackOnly = LOOPBACK.includes(address.host);
    const open: OpenPort = { process, loopbackOnly, accept };
    return process.call<Listener>({
      label: `listen on ${name}`,
      delayMs: localMs(host.generator),
      effect: () => {
        if (!loopbackOnly && address.host !== host.name && !EVERYWHERE.includes(address.host))
          throw new NetworkError(
            "unreachable",
            address,
            `cannot listen on ${name}: it is not an address of ${host.name}`,
          );
        const port = address.port === 0 ? host.freePort() : address.port;
        if (host.ports.has(port))
          throw new NetworkError("occupied", address, `cannot listen on ${name}: the port is taken`);
        host.ports.set(port, open);
        return {
          address: { host: address.host, port },
          close: () => {
            if (!process.alive) return never();
            if (host.ports.get(port) === open) host.ports.delete(port);
            return process.call({
              label: `stop listening on ${name}`,
              delayMs: localMs(host.generator),
              effect: () => {},
            });
          },
        };
      },
    });
  }

  async #connect(
    host: NetworkHost,
    process: SimulatedProcess,
    address: Address,
    signal: AbortSignal | undefined,
  ): Promise<Connection> {
    if (!process.alive) return never();
    if (signal?.aborted) throw signal.reason;
    const local = [...LOOPBACK, ...EVERYWHERE].includes(address.host);
    const to = local ? host : this.#named(address.host);
    const generator = host.generator.fork();
    return new Connecting({
      medium: this.#medium,
      generator,
      from: host,
      process,
      to,
      address,
      signal,
      established: (port) => this.#establish({ host, process }, to!, address.port, port, generator),
    }).promise;
  }

  /** As in DNS, capital letters do not matter: URLs have none. */
  #named(name: string): NetworkHost | undefined {
    const exact = this.#hosts.get(name);
    if (exact !== undefined) return exact;
    const lower = name.toLowerCase();
    return [...this.#hosts.values()].find((host) => host.name.toLowerCase() === lower);
  }

  #establish(
    client: { readonly host: NetworkHost; readonly process: SimulatedProcess },
    host: NetworkHost,
    port: number,
    open: OpenPort,
    generator: SeededGenerator,
  ): Connection {
    const link = new NetworkLink({
      id: ++this.#linkCount,
      medium: this.#medium,
      generator,
      client,
      server: { host, process: open.process, port },
      accept: (connection) => {
        if (host.ports.get(port) !== open) return false;
        const label = `accept #${link.id} from ${client.host.name}`;
        open.process.after(localMs(generator), label, () => open.accept(connection));
        return true;
      },
      over: ({ id }) => this.#links.delete(id),
    });
    this.#links.set(link.id, link);
    // It may have died while its answer was on the way.
    if (!open.process.alive) link.server.forget();
    link.open();
    return link.client;
  }

  #die(host: NetworkHost, process: SimulatedProcess, manner: DeathManner): void {
    if (host.process !== process) return;
    host.ports.clear();
    if (manner === "machine") host.up = false;
    for (const link of [...this.#links.values()]) link.mourn(host, process, manner);
    this.#review();
  }

  #review(): void {
    for (const link of [...this.#links.values()]) link.review();
  }
}

/** Blocks ways beside those that the scenario blocks, so that the end of a fault opens nothing that is not its own. */
export interface StruckWays {
  block(from: string, to: string): void;
  unblock(from: string, to: string): void;
}

class NetworkControl implements SimulatedNetworkControl {
  readonly #medium: NetworkMedium;
  readonly #links: ReadonlyMap<number, NetworkLink>;

  constructor(medium: NetworkMedium, links: ReadonlyMap<number, NetworkLink>) {
    this.#medium = medium;
    this.#links = links;
  }

  get settings(): NetworkSettings {
    return this.#medium.settings;
  }

  set settings(settings: NetworkSettings) {
    this.#medium.settings = settings;
  }

  get connections(): readonly ConnectionInfo[] {
    return Array.from(this.#links.values())
      .filter((link) => link.known)
      .map(({ id, from, to }) => ({ id, from, to }));
  }

  block(from: string, to: string): void {
    this.#change(`block ${from} -> ${to}`, () => this.#medium.ways.block(from, to));
  }

  unblock(from: string, to: string): void {
    this.#change(`unblock ${from} -> ${to}`, () => this.#medium.ways.unblock(from, to));
  }

  partition(groups: readonly (readonly string[])[]): void {
    const parted = groups.map((group) => group.join(", ")).join(" | ");
    this.#change(`partition ${parted}`, () => this.#medium.ways.partition(groups));
  }

  isolate(host: string, direction: "in" | "out" | "both" = "both"): void {
    this.#change(`isolate ${host} ${direction}`, () => this.#medium.ways.isolate(host, direction));
  }

  heal(): void {
    this.#change("heal the network", () => this.#medium.ways.heal());
  }

  cut(connectionId: number, manner: "reset" | "half-open"): void {
    const link = this.#links.get(connectionId);
    if (link === undefined || !link.known) throw new Error(`there is no connection ${connectionId}`);
    this.#medium.timeLine.note(`cut #${connectionId} ${manner}`);
    link.cut(manner);
  }

  #change(label: string, change: () => void): void {
    this.#medium.timeLine.note(label);
    change();
    for (const link of [...this.#links.values()]) link.review();
  }
}
