import { calmNetwork, type NetworkSettings } from "../network/network-control.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import type { FaultChoice, FaultKind, FaultSettings, PlannedStrike, Span } from "./fault-settings.ts";
import { faultKinds } from "./fault-settings.ts";

/** How long things last, and how far they go, when nothing else is said. */
const spans = {
  downMs: { min: 10, max: 10_000 },
  pauseMs: { min: 50, max: 20_000 },
  partitionMs: { min: 50, max: 30_000 },
  slowMs: { min: 500, max: 15_000 },
  outageMs: { min: 10, max: 3_000 },
  clockStepMs: { min: 10, max: 3_600_000 },
  clockDrift: { min: 0.0001, max: 0.02 },
} as const satisfies Partial<Record<keyof FaultSettings, Span>>;

const spanOf: Readonly<Partial<Record<FaultKind, keyof typeof spans>>> = {
  crash: "downMs",
  kill: "downMs",
  pause: "pauseMs",
  sleep: "pauseMs",
  partition: "partitionMs",
  "slow-network": "slowMs",
  "clock-step": "clockStepMs",
  "clock-drift": "clockDrift",
  "disk-outage": "outageMs",
  "disk-full": "outageMs",
};

const steady: FaultSettings = {
  perMinute: { kill: 2, crash: 1, pause: 4, partition: 3, cut: 10, "slow-network": 2, "clock-step": 2 },
};

/** A swarm of faults in a minute, and how many of the kinds take part: some runs know one kind only, others all of them. */
const swarmPerMinute: Span = { min: 25, max: 80 };

/** The rates of a run, drawn where the choice leaves them to the seed. */
export function drawFaults(choice: FaultChoice, generator: SeededGenerator): FaultSettings {
  if (choice === "lite") return { perMinute: {} };
  if (choice === "performance") return steady;
  if (choice !== "swarm" && !("swarm" in choice)) return choice;
  const allowed = choice === "swarm" ? faultKinds : choice.swarm;
  const weights = new Map<FaultKind, number>();
  const share = generator.pick([0.25, 0.5, 0.75, 1]);
  for (const kind of allowed) {
    const weight = logarithmic(generator, { min: 1, max: 10 });
    if (generator.chance(share)) weights.set(kind, weight);
  }
  if (weights.size === 0 && allowed.length > 0) weights.set(generator.pick(allowed), 1);
  const total = [...weights.values()].reduce((sum, weight) => sum + weight, 0);
  const everyMinute = logarithmic(generator, swarmPerMinute);
  const perMinute: Partial<Record<FaultKind, number>> = {};
  for (const [kind, weight] of weights) perMinute[kind] = (everyMinute * weight) / total;
  return { ...(choice === "swarm" ? {} : choice.settings), perMinute };
}

/** How the network is while nothing strikes it: near, far, or unsteady. Calm where the run has no faults. */
export function drawNetwork(choice: FaultChoice, generator: SeededGenerator): NetworkSettings {
  const drawn = {
    max: logarithmic(generator, { min: 0.5, max: 50 }),
    delayChance: generator.pick([0, 0, 0.01, 0.1]),
    delayMax: logarithmic(generator, { min: 5, max: 2_000 }),
    splitChance: generator.pick([0, 0.1, 0.5]),
    bufferBytes: generator.pick([1_024, 16_384, 65_536, 1_048_576]),
    quietEndChance: generator.pick([0, 0.5, 1]),
  };
  if (choice === "lite" || choice === "performance" || (choice !== "swarm" && !("swarm" in choice))) return calmNetwork;
  return {
    ...calmNetwork,
    latencyMs: { min: 0.1, max: drawn.max },
    delayChance: drawn.delayChance,
    delayMs: { min: 1, max: drawn.delayMax },
    splitChance: drawn.splitChance,
    bufferBytes: drawn.bufferBytes,
    quietEndChance: drawn.quietEndChance,
  };
}

/** Every fault of the run, in order of time. Each has its own draws, so that leaving one out changes no other. */
export function planFaults(
  settings: FaultSettings,
  durationMs: number,
  generator: SeededGenerator,
): readonly PlannedStrike[] {
  const drawn: Omit<PlannedStrike, "number">[] = [];
  for (const kind of faultKinds) {
    const expected = ((settings.perMinute[kind] ?? 0) * durationMs) / 60_000;
    const count = Math.floor(expected) + (generator.chance(expected % 1) ? 1 : 0);
    for (let index = 0; index < count; index++) {
      const span = spanOf[kind];
      drawn.push({
        kind,
        atMs: generator.float() * durationMs,
        target: generator.float(),
        manner: generator.float(),
        measure: span === undefined ? 0 : logarithmic(generator, settings[span] ?? spans[span]),
      });
    }
  }
  drawn.sort((left, right) => left.atMs - right.atMs);
  return drawn.map((strike, number) => ({ ...strike, number }));
}

/** Small values as often as large ones of each order of magnitude. */
export function logarithmic(generator: SeededGenerator, { min, max }: Span): number {
  return min * (max / min) ** generator.float();
}
