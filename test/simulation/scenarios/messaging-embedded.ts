import { embedded } from "../../../src/engines/embedded/index.ts";
import type { FaultKind, ProcessHandle, SimulatedSystem } from "../../../src/simulation/index.ts";
import { groups } from "../messaging/setup.ts";
import { MessagingWorkload, type Seen } from "../messaging/workload.ts";
import type { ScenarioDefinition } from "../scenario.ts";

const safetyMs = 80_000;
/** Short, so that many strike a process that is there to be struck. */
const settings = {
  downMs: { min: 10, max: 1_000 },
  pauseMs: { min: 50, max: 5_000 },
  clockStepMs: { min: 10, max: 100_000 },
} as const;
/** Those that can strike one process alone. */
const swarm: readonly FaultKind[] = [
  "crash",
  "kill",
  "pause",
  "sleep",
  "clock-step",
  "clock-drift",
  "disk-error",
  "disk-outage",
  "disk-full",
];

/** The whole of messaging in one process on the embedded engine, which dies and comes back. */
export const scenario: ScenarioDefinition = {
  name: "messaging-embedded",
  options: { safetyMs, livenessMs: 600_000, faults: { swarm, settings } },
  run,
};

async function run(system: SimulatedSystem): Promise<void> {
  const workload = new MessagingWorkload(system, safetyMs, () => shop.clock);
  let running: Seen | undefined;
  const shop: ProcessHandle = system.process(
    "shop",
    async (process) => {
      const { world } = process;
      const { segmentBytes } = workload.setup;
      const engine = await embedded({ directory: "/data", world, segmentBytes, reserveBytes: 65_536 }).catch(
        (error) => {
          workload.foundIfCorrupt(error);
          throw error;
        },
      );
      const seen: Seen = { process, engine };
      running = seen;
      const work: Promise<unknown>[] = [workload.publish(seen, 1), workload.watch(seen)];
      for (const group of groups) work.push(workload.consume(seen, group, crash));
      await Promise.all(work);
    },
    { whenMainFails: "restart" },
  );
  const crash = (): void => {
    shop.crash();
    void system.sleep(100).then(() => {
      if (shop.state === "crashed") shop.restart();
    });
  };
  await workload.during(async () => {
    await system.healed();
    workload.setClocks();
    running = undefined;
    if (shop.state !== "crashed") shop.crash();
    shop.restart();
    await system.until("the shop is open", () => running !== undefined);
    workload.history.healthy(true);
    await shop.run(() => workload.rest(running!, 1));
    workload.check();
    // What rests stays so when the machine dies.
    running = undefined;
    shop.crash("lost");
    shop.restart();
    await system.until("the shop is open again", () => running !== undefined);
    await shop.run(() => workload.rest(running!, 0));
    workload.check();
  });
}
