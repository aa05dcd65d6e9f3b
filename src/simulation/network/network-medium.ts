import type { Connection } from "../../world/world.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import type { SimulatedProcess } from "../simulated-process.ts";
import type { TimeLine } from "../time-line.ts";
import type { NetworkSettings } from "./network-control.ts";
import { NetworkWays } from "./network-ways.ts";

/** The longest that a call within one machine takes. */
const LOCAL_MS_MAX = 0.05;
const FIRST_FREE_PORT = 49_152;
const LAST_PORT = 65_535;

/** Somebody who takes connections on a port. */
export interface OpenPort {
  readonly process: SimulatedProcess;
  /** Whether it hears only its own machine. */
  readonly loopbackOnly: boolean;
  readonly accept: (connection: Connection) => void;
}

/** A machine as the network knows it: what its kernel holds, whichever process lives there. */
export class NetworkHost {
  readonly name: string;
  /** What befalls its calls and the connections that it makes. */
  readonly generator: SeededGenerator;
  readonly ports = new Map<number, OpenPort>();
  /** The process that lives there now, or died last. */
  process: SimulatedProcess | undefined;
  /** Whether a kernel answers, with or without a process. */
  up = false;
  #nextPort = FIRST_FREE_PORT;

  constructor(name: string, generator: SeededGenerator) {
    this.name = name;
    this.generator = generator;
  }

  freePort(): number {
    for (;;) {
      const port = this.#nextPort;
      this.#nextPort = port === LAST_PORT ? FIRST_FREE_PORT : port + 1;
      if (!this.ports.has(port)) return port;
    }
  }
}

/** What everything that travels has in common: time, ways, and the settings of the moment. */
export class NetworkMedium {
  readonly timeLine: TimeLine;
  readonly ways = new NetworkWays();
  /** What faults block, whatever the scenario does. */
  readonly struckWays = new NetworkWays();
  settings: NetworkSettings;

  constructor(timeLine: TimeLine, settings: NetworkSettings) {
    this.timeLine = timeLine;
    this.settings = settings;
  }

  /** Whether something that arrives now gets there, and to a kernel that takes it. */
  reaches(from: NetworkHost, to: NetworkHost): boolean {
    return to.up && this.ways.isOpen(from.name, to.name) && this.struckWays.isOpen(from.name, to.name);
  }

  /** How long something travels that sets out now. */
  latencyMs(generator: SeededGenerator, from: NetworkHost, to: NetworkHost): number {
    if (from === to) return localMs(generator);
    const { latencyMs, delayChance, delayMs } = this.settings;
    const usual = between(generator, latencyMs);
    return generator.chance(delayChance) ? usual + between(generator, delayMs) : usual;
  }

  giveUpMs(generator: SeededGenerator): number {
    return between(generator, this.settings.giveUpMs);
  }

  /** The parts that are going to travel each by itself. */
  split(generator: SeededGenerator, bytes: Uint8Array): readonly Uint8Array[] {
    if (bytes.byteLength < 2 || !generator.chance(this.settings.splitChance)) return [bytes];
    const at = generator.integer(1, bytes.byteLength - 1);
    return [bytes.subarray(0, at), ...this.split(generator, bytes.subarray(at))];
  }
}

/** How long a call to the own kernel takes. */
export function localMs(generator: SeededGenerator): number {
  return generator.float() * LOCAL_MS_MAX;
}

function between(generator: SeededGenerator, { min, max }: { readonly min: number; readonly max: number }): number {
  return min + generator.float() * (max - min);
}
