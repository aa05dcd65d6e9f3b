import type { NetworkSettings, SimulatedNetworkControl } from "../network/network-control.ts";
import type { StruckWays } from "../network/simulated-network.ts";
import { SeededGenerator } from "../seeded-generator.ts";
import type { SimulatedMachine } from "../simulated-machine.ts";
import type { FaultKind, PlannedStrike, StruckFault } from "./fault-settings.ts";

export interface StrikeParts {
  readonly machines: () => readonly SimulatedMachine[];
  readonly network: SimulatedNetworkControl;
  readonly ways: StruckWays;
  /** Calls `fn` after so much virtual time; the answer withdraws it. */
  readonly after: (ms: number, label: string, fn: () => void) => () => void;
}

type Protection = keyof NonNullable<SimulatedMachine["options"]["faults"]>;
type Way = readonly [from: string, to: string];

const slowNetwork: Pick<NetworkSettings, "delayChance" | "delayMs"> = {
  delayChance: 0.5,
  delayMs: { min: 20, max: 3_000 },
};

/** Carries out what was planned, and takes back what lasts: when its time is over, or when everything heals. */
export class Strikes {
  readonly #parts: StrikeParts;
  readonly #lasting = new Set<() => void>();
  /** How many strikes block a way. */
  readonly #blocked = new Map<string, number>();
  /** How many strikes slow the network down, and how it was before the first of them. */
  #slowing = 0;
  #swift: NetworkSettings | undefined;
  #slowed: NetworkSettings | undefined;

  constructor(parts: StrikeParts) {
    this.#parts = parts;
  }

  /** `undefined` when there is nothing that it could strike. */
  strike(planned: PlannedStrike): StruckFault | undefined {
    const text = this.#strike(planned);
    return text === undefined ? undefined : { number: planned.number, atMs: planned.atMs, kind: planned.kind, text };
  }

  /** Ends everything that lasts. */
  heal(): void {
    for (const end of [...this.#lasting]) end();
    this.#parts.network.heal();
  }

  #strike(planned: PlannedStrike): string | undefined {
    switch (planned.kind) {
      case "crash":
      case "kill":
        return this.#crash(planned);
      case "pause":
      case "sleep":
        return this.#pause(planned);
      case "partition":
        return this.#partition(planned);
      case "cut":
      case "half-open":
        return this.#cut(planned);
      case "slow-network":
        return this.#slow(planned);
      case "clock-step":
      case "clock-drift":
        return this.#clock(planned);
      default:
        return this.#disk(planned);
    }
  }

  #crash({ kind, target, measure }: PlannedStrike): string | undefined {
    const machine = pick(this.#exposed("crash"), target);
    if (machine === undefined) return undefined;
    const { incarnation } = machine;
    machine.crash(kind === "kill" ? "process" : "seeded");
    const what = kind === "kill" ? `kills ${machine.name}` : `crashes ${machine.name}`;
    if (machine.options.restart === "by hand") return `${what} for good`;
    this.#last(measure, `${machine.name} comes back`, () => {
      if (!machine.alive && machine.incarnation === incarnation) machine.restart();
    });
    return `${what} for ${inWords(measure)}`;
  }

  #pause({ kind, target, measure }: PlannedStrike): string | undefined {
    const running = this.#exposed("pause").filter((machine) => machine.state !== "paused");
    const machine = pick(running, target);
    if (machine === undefined) return undefined;
    const { incarnation } = machine;
    machine.pause(kind === "pause" ? "stopped" : "asleep");
    this.#last(measure, `${machine.name} goes on`, () => {
      if (machine.incarnation === incarnation) machine.resume();
    });
    return kind === "pause"
      ? `stops ${machine.name} for ${inWords(measure)}`
      : `lets ${machine.name} sleep for ${inWords(measure)}`;
  }

  #partition({ target, manner, measure }: PlannedStrike): string | undefined {
    const hosts = this.#parts.machines().map((machine) => machine.name);
    if (hosts.length < 2) return undefined;
    const generator = new SeededGenerator(Math.floor(manner * 2 ** 48));
    const one = pick(hosts, target)!;
    const others = hosts.filter((host) => host !== one);
    const { ways, what } = drawPartition(one, others, generator);
    for (const way of ways) this.#block(way);
    this.#last(measure, "a partition ends", () => {
      for (const way of ways) this.#unblock(way);
    });
    return `${what} for ${inWords(measure)}`;
  }

  #cut({ kind, target }: PlannedStrike): string | undefined {
    const connection = pick(this.#parts.network.connections, target);
    if (connection === undefined) return undefined;
    this.#parts.network.cut(connection.id, kind === "cut" ? "reset" : "half-open");
    const what = `connection ${connection.id} of ${connection.from} to ${connection.to}`;
    return kind === "cut" ? `cuts ${what}` : `lets ${connection.to} forget ${what}`;
  }

  #slow({ measure }: PlannedStrike): string {
    const { network } = this.#parts;
    if (this.#slowing === 0) {
      this.#swift = network.settings;
      this.#slowed = { ...network.settings, ...slowNetwork };
      network.settings = this.#slowed;
    }
    this.#slowing += 1;
    this.#last(measure, "the network may be fast again", () => {
      this.#slowing -= 1;
      // What the scenario set meanwhile stays.
      if (this.#slowing === 0 && network.settings === this.#slowed) network.settings = this.#swift!;
    });
    return `slows the network down for ${inWords(measure)}`;
  }

  #clock({ kind, target, manner, measure }: PlannedStrike): string | undefined {
    const machine = pick(this.#exposed("clock"), target);
    if (machine === undefined) return undefined;
    const sign = manner < 0.5 ? -1 : 1;
    if (kind === "clock-drift") {
      machine.clock.drift(1 + sign * measure);
      return `lets the clocks of ${machine.name} ${sign < 0 ? "lose" : "gain"} ${(measure * 100).toFixed(2)} %`;
    }
    const ms = sign * Math.ceil(measure);
    machine.clock.step(ms);
    return `steps the clock of ${machine.name} by ${ms} ms`;
  }

  #disk({ kind, target, manner, measure }: PlannedStrike): string | undefined {
    const machine = pick(this.#exposed("disk"), target);
    if (machine === undefined) return undefined;
    if (kind === "disk-error") {
      const n = 1 + Math.floor(manner * 20);
      machine.faults.add(n, { type: "fail", failure: "io" }, false, undefined);
      return `lets disk operation ${n} from now of ${machine.name} fail`;
    }
    const failure = kind === "disk-full" ? "full" : "io";
    const kinds = kind === "disk-full" ? (["append", "open"] as const) : undefined;
    const fault = machine.faults.add(1, { type: "fail", failure }, true, kinds);
    this.#last(measure, `the disk of ${machine.name} works again`, () => fault.cancel());
    return kind === "disk-full"
      ? `fills the disk of ${machine.name} for ${inWords(measure)}`
      : `breaks the disk of ${machine.name} for ${inWords(measure)}`;
  }

  /** Those that are alive and may be struck so. */
  #exposed(protection: Protection): readonly SimulatedMachine[] {
    return this.#parts.machines().filter((machine) => machine.alive && machine.options.faults?.[protection] !== false);
  }

  /** `end` is called once: after so much virtual time, or when everything heals. */
  #last(ms: number, label: string, end: () => void): void {
    const finish = (): void => {
      if (!this.#lasting.delete(finish)) return;
      cancel();
      end();
    };
    const cancel = this.#parts.after(ms, label, finish);
    this.#lasting.add(finish);
  }

  #block([from, to]: Way): void {
    const way = JSON.stringify([from, to]);
    this.#blocked.set(way, (this.#blocked.get(way) ?? 0) + 1);
    this.#parts.ways.block(from, to);
  }

  #unblock([from, to]: Way): void {
    const way = JSON.stringify([from, to]);
    const left = (this.#blocked.get(way) ?? 0) - 1;
    this.#blocked.set(way, left);
    if (left === 0) this.#parts.ways.unblock(from, to);
  }
}

function drawPartition(
  one: string,
  others: readonly string[],
  generator: SeededGenerator,
): { readonly ways: readonly Way[]; readonly what: string } {
  const out = others.map((other): Way => [one, other]);
  const into = others.map((other): Way => [other, one]);
  switch (generator.pick(["isolate", "out", "in", "pair", "halves", "halves"])) {
    case "isolate":
      return { ways: [...out, ...into], what: `isolates ${one}` };
    case "out":
      return { ways: out, what: `lets nothing out of ${one}` };
    case "in":
      return { ways: into, what: `lets nothing into ${one}` };
    case "pair": {
      const other = generator.pick(others);
      return { ways: [[one, other]], what: `lets nothing from ${one} to ${other}` };
    }
    default: {
      const drawn = others.filter(() => generator.chance(0.5));
      const far = drawn.length > 0 ? drawn : [generator.pick(others)];
      const near = [one, ...others.filter((other) => !far.includes(other))];
      const ways = near.flatMap((left) =>
        far.flatMap((right): Way[] => [
          [left, right],
          [right, left],
        ]),
      );
      return { ways, what: `parts ${near.join(", ")} from ${far.join(", ")}` };
    }
  }
}

function pick<Choice>(choices: readonly Choice[], at: number): Choice | undefined {
  return choices[Math.floor(at * choices.length)];
}

function inWords(ms: number): string {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

/** How many of each kind struck. */
export function countByKind(struck: readonly StruckFault[]): Partial<Record<FaultKind, number>> {
  const counts: Partial<Record<FaultKind, number>> = {};
  for (const { kind } of struck) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}
