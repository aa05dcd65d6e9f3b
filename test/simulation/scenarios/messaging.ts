import type { ServedEngine } from "../../../src/engines/remote/index.ts";
import type { FaultKind, ProcessContext, ProcessHandle, SimulatedSystem } from "../../../src/simulation/index.ts";
import { faultKinds } from "../../../src/simulation/index.ts";
import { groups } from "../messaging/setup.ts";
import { MessagingWorkload, type Seen } from "../messaging/workload.ts";
import type { ScenarioDefinition } from "../scenario.ts";
import { connected, drawRemote, serveEngine } from "../served-engine.ts";

const safetyMs = 60_000;
const swarm: readonly FaultKind[] = faultKinds;
/** Short, so that many strike a process that is there to be struck, and messages are not delayed for hours by a clock that was wrong. */
const settings = {
  downMs: { min: 10, max: 5_000 },
  pauseMs: { min: 50, max: 10_000 },
  partitionMs: { min: 50, max: 15_000 },
  clockStepMs: { min: 10, max: 100_000 },
} as const;

/** Publishers and consumers in processes of their own, and an engine that is served to them over the network. */
export const scenario: ScenarioDefinition = {
  name: "messaging",
  options: { safetyMs, livenessMs: 600_000, faults: { swarm, settings } },
  run,
};

const publishers = ["publisher-1", "publisher-2"];

async function run(system: SimulatedSystem): Promise<void> {
  let opened: { readonly engine: ServedEngine; readonly incarnation: number } | undefined;
  const served = serveEngine(system, (engine) => {
    opened = { engine, incarnation: served.handle.incarnation };
    return engine;
  });
  const { handle } = served;
  const { clock } = handle;
  const workload = new MessagingWorkload(system, safetyMs, () => clock);
  const remoteSettings = drawRemote(system);
  const seenFrom = async (process: ProcessContext): Promise<Seen> => ({
    process,
    engine: await connected(process.world, remoteSettings),
  });
  for (const name of publishers) {
    const publish = async (process: ProcessContext): Promise<void> => {
      const seen = await seenFrom(process);
      const watched = name === publishers[0] ? workload.watch(seen) : undefined;
      await Promise.all([workload.publish(seen, publishers.length), watched]);
    };
    system.process(name, publish, { whenMainFails: "restart" });
  }
  const consumers = [...groups, system.random.pick(groups)].slice(0, system.random.integer(2, 3));
  for (const [index, group] of consumers.entries()) {
    const name = `consumer-${index + 1}`;
    const consume = async (process: ProcessContext): Promise<void> => {
      const seen = await seenFrom(process);
      await workload.consume(seen, group, () => crash(consumer));
    };
    const consumer: ProcessHandle = system.process(name, consume, { whenMainFails: "restart" });
  }
  const crash = (consumer: ProcessHandle): void => {
    consumer.crash();
    void system.sleep(100).then(() => {
      if (consumer.state === "crashed") consumer.restart();
    });
  };
  await workload.during(async () => {
    await system.healed();
    workload.setClocks();
    await system.until("the engine is there", () => opened?.incarnation === handle.incarnation);
    workload.history.healthy(true);
    const { engine, incarnation } = opened!;
    const process = { name: "engine", incarnation, world: engine.world, signal: new AbortController().signal };
    await handle.run(() => workload.rest({ process, engine: engine as Seen["engine"] }, publishers.length));
    workload.check();
  });
}
