import { setTimeout as sleep } from "node:timers/promises";
import type { ProcessPlan } from "./deployment.ts";
import type { Load } from "./load.ts";
import type { SaleProcesses } from "./sale-processes.ts";
import type { OwnServer } from "./sale-servers.ts";

/** Something that was killed with SIGKILL in mid-sale and started again. */
export interface Crash {
  readonly name: string;
  /** From SIGKILL until it serves again. */
  readonly backMs: number;
}

export interface PlannedCrash {
  readonly name: string;
  /** How much of the load is over by then. */
  readonly fraction: number;
  /** Kills it, and resolves when it serves again. */
  run(): Promise<void>;
}

/** A server that may be killed, and how people call it. */
export interface Killable {
  readonly name: string;
  readonly server: Pick<OwnServer, "stop" | "start">;
}

/** Long enough for buyers and services to find it gone. */
const serverDownMs = 250;

/** The last process of each kind, and between them the servers that are the run's own. */
export function plannedCrashes(
  plan: readonly ProcessPlan[],
  processes: Pick<SaleProcesses, "crash">,
  servers: readonly Killable[],
): readonly PlannedCrash[] {
  const victims = [...new Map(plan.map(({ name, roles }) => [roles[0]!.type, name])).values()].reverse();
  const kills = victims.map((name) => ({ name, run: () => processes.crash(name) }));
  const bounces = servers.map(({ name, server }) => ({ name, run: () => bounce(server) }));
  kills.splice(Math.ceil(kills.length / 2), 0, ...bounces);
  // At 40 % when there is only one.
  return kills.map((kill, index) => ({ ...kill, fraction: (0.8 * (index + 1)) / (kills.length + 1) }));
}

async function bounce(server: Killable["server"]): Promise<void> {
  await server.stop("SIGKILL");
  await sleep(serverDownMs);
  await server.start();
}

/** Resolves when everything is back; later crashes do not wait for that. */
export async function crashInMidSale(
  planned: readonly PlannedCrash[],
  load: Load,
  total: number,
  note: (text: string) => void,
  signal: AbortSignal,
): Promise<readonly Crash[]> {
  const crashes: Promise<Crash>[] = [];
  for (const { name, fraction, run } of planned) {
    while (load.finished < total * fraction) await sleep(5, undefined, { signal });
    note(`killed ${name} with SIGKILL; starting it again`);
    const killedAt = performance.now();
    const crash = run().then(() => {
      const backMs = performance.now() - killedAt;
      note(`${name} is back after ${Math.round(backMs)} ms`);
      return { name, backMs };
    });
    // It is waited for below; a rejection must not count as unhandled meanwhile.
    crash.catch(() => {});
    crashes.push(crash);
  }
  return Promise.all(crashes);
}
