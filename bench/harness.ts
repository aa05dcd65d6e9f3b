import { type Figure, type PeerCall, PeerProcess, type PeerSpecification, type Survives } from "./peer.ts";

/** Something that is measured with several peers, in the same way for each. */
export interface Scenario {
  readonly name: string;
  readonly call: PeerCall;
  /** Fewer rounds than asked for, where the spread is small and time short. */
  readonly roundsMax?: number | undefined;
  /** So many times the rounds asked for, where each is short beside how the machine changes its pace. */
  readonly roundsTimes?: number | undefined;
  /** The peers that take part. */
  readonly peers: readonly string[];
}

export type Unit = "per second" | "ms";

/** The figures of one peer in one scenario, one per round. */
export interface Row {
  readonly scenario: string;
  readonly unit: Unit;
  readonly peer: string;
  readonly survives: Survives;
  readonly rounds: readonly number[];
}

/** A peer that did not take part, or not in everything, and why. */
export interface MissingPeer {
  readonly peer: string;
  readonly reason: string;
}

export interface Measurements {
  readonly rows: readonly Row[];
  readonly missing: readonly MissingPeer[];
}

/**
 * Measures every scenario with every peer: round 1 of all peers, then round 2 of all, … so that a machine that changes its
 * pace changes it for everybody. `report` hears of each scenario when it is complete. A peer that fails is named and left out of
 * the rest.
 */
export async function runScenarios(
  scenarios: readonly Scenario[],
  specifications: readonly PeerSpecification[],
  rounds: number,
  report: (rows: readonly Row[]) => void,
): Promise<Measurements> {
  const missing: MissingPeer[] = [];
  const peers = new Map<string, PeerProcess>();
  const rows: Row[] = [];
  const drop = async (name: string, error: unknown) => {
    missing.push({ peer: name, reason: error instanceof Error ? error.message : String(error) });
    const peer = peers.get(name);
    peers.delete(name);
    await peer?.close().catch(() => {});
  };

  try {
    for (const specification of specifications) {
      try {
        peers.set(specification.name, await PeerProcess.start(specification));
      } catch (error) {
        await drop(specification.name, error);
      }
    }
    for (const scenario of scenarios) {
      const { roundsMax = Number.POSITIVE_INFINITY, roundsTimes = 1 } = scenario;
      const measured = await runScenario(scenario, peers, Math.min(rounds * roundsTimes, roundsMax), drop);
      rows.push(...measured);
      report(measured);
    }
  } finally {
    await Promise.all([...peers.values()].map((peer) => peer.close().catch(() => {})));
  }
  return { rows, missing };
}

async function runScenario(
  scenario: Scenario,
  peers: ReadonlyMap<string, PeerProcess>,
  rounds: number,
  drop: (name: string, error: unknown) => Promise<void>,
): Promise<readonly Row[]> {
  const results = new Map<string, Figure[]>();
  for (let round = 0; round < rounds; round++) {
    for (const name of rotate(scenario.peers, round)) {
      const peer = peers.get(name);
      if (peer === undefined) continue;
      try {
        const result = (await peer.call(scenario.call))!;
        results.set(name, [...(results.get(name) ?? []), result]);
      } catch (error) {
        results.delete(name);
        await drop(name, error);
      }
    }
  }
  return scenario.peers.flatMap((name) => {
    const peer = peers.get(name);
    const measured = results.get(name);
    if (peer === undefined || measured === undefined) return [];
    return rowsOf(scenario.name, name, peer.specification.options.survives, measured);
  });
}

/** Each round starts with another peer, so that nobody always follows the same neighbour. */
function rotate<T>(values: readonly T[], by: number): readonly T[] {
  const from = by % Math.max(1, values.length);
  return [...values.slice(from), ...values.slice(0, from)];
}

function rowsOf(scenario: string, peer: string, survives: Survives, measured: readonly Figure[]): readonly Row[] {
  const row = (suffix: string, unit: Unit, rounds: readonly number[]): readonly Row[] =>
    rounds.length === 0 ? [] : [{ scenario: `${scenario}${suffix}`, unit, peer, survives, rounds }];
  return [
    ...row(
      "",
      "per second",
      measured.flatMap((figure) =>
        typeof figure === "number" ? figure : "perSecond" in figure ? figure.perSecond : [],
      ),
    ),
    ...row(
      ", p50",
      "ms",
      measured.flatMap((figure) => (typeof figure !== "number" && "p50Ms" in figure ? figure.p50Ms : [])),
    ),
    ...row(
      ", p99",
      "ms",
      measured.flatMap((figure) => (typeof figure === "number" ? [] : figure.p99Ms)),
    ),
  ];
}
