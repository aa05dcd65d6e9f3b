/** Publishers and consumers whose topic moves from one served engine to another one while everybody is killed, paused and cut off. */
import { TenonError } from "../../../src/contracts/errors.ts";
import type { MessageEngine } from "../../../src/contracts/messages.ts";
import type { RemoteEngine } from "../../../src/engines/remote/index.ts";
import { deadTopicOf, retryTopicOf } from "../../../src/messaging/names.ts";
import { moveTopic, moving } from "../../../src/moving/index.ts";
import type { FaultKind, ProcessContext, ProcessHandle, SimulatedSystem } from "../../../src/simulation/index.ts";
import { faultKinds, Violation } from "../../../src/simulation/index.ts";
import type { World } from "../../../src/world/world.ts";
import { groups, topicName } from "../messaging/setup.ts";
import { MessagingWorkload, type Seen } from "../messaging/workload.ts";
import { MovedPlaces } from "../moving/moved-places.ts";
import { over } from "../observed-messages.ts";
import type { ScenarioDefinition } from "../scenario.ts";
import { connected, drawRemote, isOutage, type RemoteSettings, serveEngine, unlessOutage } from "../served-engine.ts";

const safetyMs = 30_000;
const swarm: readonly FaultKind[] = faultKinds;
/** Short, so that many strike a process that is there to be struck, and messages are not delayed for hours by a clock that was wrong. */
const settings = {
  downMs: { min: 10, max: 5_000 },
  pauseMs: { min: 50, max: 10_000 },
  partitionMs: { min: 50, max: 15_000 },
  clockStepMs: { min: 10, max: 100_000 },
} as const;

export const scenario: ScenarioDefinition = {
  name: "moving",
  options: { safetyMs, livenessMs: 600_000, faults: { swarm, settings } },
  run,
};

const publishers = ["publisher-1", "publisher-2"];
const [leftHost, reachedHost] = ["engine-a", "engine-b"];
const retentionMs = 365 * 24 * 3_600_000;

async function run(system: SimulatedSystem): Promise<void> {
  const [left, reached] = [leftHost, reachedHost].map((host) => serveEngine(system, undefined, host).handle);
  const clock = {
    get now(): number {
      return Math.max(left!.clock.now, reached!.clock.now);
    },
  };
  const workload = new MessagingWorkload(system, safetyMs, () => clock, { seeks: 0 });
  const places = new MovedPlaces(topicName);
  const style = drawStyle(system);
  const both = (process: ProcessContext): Promise<Both> => bothFrom(process, style.remote, places);
  const seenFrom = async (process: ProcessContext): Promise<Seen> => {
    const { from, to } = await both(process);
    return { process, engine: moving(from, to, { pollMs: style.pollMs }) };
  };

  const founder = system.process("founder", async (process) => {
    const { from } = await both(process);
    while (!(await unlessOutage(() => found(from.messages, workload.setup.partitions, style)))) {
      await process.world.timers.sleep(100);
    }
  });
  await founder.ended;

  let publishing = 0;
  for (const name of publishers) {
    const publish = async (process: ProcessContext): Promise<void> => {
      const seen = await seenFrom(process);
      const watched = name === publishers[0] ? workload.watch(seen) : undefined;
      await Promise.all([workload.publish(seen, publishers.length), watched]);
    };
    system.process(name, publish, { whenMainFails: "restart" });
    publishing += 1;
  }
  for (const [index, group] of [...groups, system.random.pick(groups)].entries()) {
    const consume = async (process: ProcessContext): Promise<void> => {
      await workload.consume(await seenFrom(process), group, () => crash(consumer));
    };
    const consumer: ProcessHandle = system.process(`consumer-${index + 1}`, consume, { whenMainFails: "restart" });
  }
  const crash = (consumer: ProcessHandle): void => {
    consumer.crash();
    void system.sleep(100).then(() => {
      if (consumer.state === "crashed") consumer.restart();
    });
  };
  let hasMoved = false;
  system.process(
    "mover",
    async (process) => {
      const { timers, random } = process.world;
      await timers.sleep((process.incarnation === 1 ? style.startMs : 1_000) * random.float());
      await move(process, await both(process), style, (sentence) => workload.found(sentence));
      hasMoved = true;
    },
    { whenMainFails: "restart" },
  );
  await workload.during(async () => {
    await system.healed();
    workload.setClocks();
    workload.history.healthy(true);
    await system.until("the topic has moved", () => hasMoved);
    const auditor = system.process("auditor", async (process) => {
      await workload.rest(await seenFrom(process), publishing);
      await lookAtBoth(await both(process));
    });
    await auditor.ended;
    places.unify(workload.history);
    workload.check({ atomic: false });
  });
}

interface Style {
  readonly remote: RemoteSettings;
  /** How often consumers look whether the topic leaves. */
  readonly pollMs: number;
  /** Within this time the move begins. */
  readonly startMs: number;
  readonly lagMax: number;
  readonly movePollMs: number;
  /** How far away the other engine is for the mover: before a copy is stored, and after it, up to so much time passes. */
  readonly copyMs: number;
  /** After so long it is interrupted, and called again. */
  readonly interruptMs: number;
  /** Whether dead letters and retries are on the engine that is left, too. */
  readonly internals: boolean;
}

function drawStyle(system: SimulatedSystem): Style {
  const { random } = system;
  return {
    remote: drawRemote(system),
    pollMs: random.pick([500, 1_000, 3_000]),
    startMs: random.pick([5_000, 15_000, 30_000]),
    lagMax: random.pick([0, 5, 1_000]),
    movePollMs: random.pick([100, 500, 1_000]),
    copyMs: random.pick([0, 100, 1_000]),
    interruptMs: random.pick([3_000, 10_000, Number.POSITIVE_INFINITY]),
    internals: random.chance(0.7),
  };
}

interface Both {
  readonly from: Pick<RemoteEngine, "messages" | "world" | "topicCreation">;
  readonly to: Pick<RemoteEngine, "messages" | "world" | "topicCreation">;
}

async function bothFrom({ world }: ProcessContext, remote: RemoteSettings, places: MovedPlaces): Promise<Both> {
  const [left, reached] = await Promise.all([leftHost, reachedHost].map((host) => connected(world, remote, host)));
  const { topicCreation } = left!;
  return {
    from: { world, topicCreation, messages: places.left(left!.messages) },
    to: { world, topicCreation, messages: places.reached(reached!.messages) },
  };
}

/** As it was before anybody thought of moving. */
async function found(messages: MessageEngine, partitions: number, { internals }: Style): Promise<void> {
  await messages.declare(topicName, { partitions, groups, retentionMs });
  if (!internals) return;
  for (const group of groups) {
    await messages.declare(deadTopicOf(topicName, group), { partitions: 1, groups: ["redrive"], retentionMs });
    await messages.declare(retryTopicOf(topicName, group), { partitions, groups: [group] });
  }
}

/** Until it says that everything has moved. */
async function move(
  { world }: ProcessContext,
  { from, to }: Both,
  { lagMax, movePollMs, interruptMs, copyMs }: Style,
  finding: (sentence: string) => void,
): Promise<void> {
  const far = { ...to, messages: farMessages(to.messages, world, copyMs) };
  for (;;) {
    const interrupt = new AbortController();
    const reason = new Error("interrupted");
    const cancel =
      interruptMs === Number.POSITIVE_INFINITY
        ? () => undefined
        : world.timers.schedule(interruptMs * 2 * world.random.float(), () => interrupt.abort(reason));
    try {
      await moveTopic({ from, to: far, topic: topicName, lagMax, pollMs: movePollMs, signal: interrupt.signal });
      return;
    } catch (error) {
      if (error instanceof TenonError && error.code === "closed") throw error;
      if (error !== reason && !mayBeTriedAgain(error)) finding(`the move was refused: ${String(error)}`);
    } finally {
      cancel();
    }
    await world.timers.sleep(1_000 * world.random.float());
  }
}

function farMessages(messages: MessageEngine, { timers, random }: World, ms: number): MessageEngine {
  const append: MessageEngine["append"] = async (batch) => {
    await timers.sleep(random.float() * ms);
    const positions = await messages.append(batch);
    await timers.sleep(random.float() * ms);
    return positions;
  };
  return over(messages, { append });
}

/** An outage; or one that died is still a member. */
function mayBeTriedAgain(error: unknown): boolean {
  return isOutage(error) || (error instanceof TenonError && /another move of topic/.test(error.message));
}

/** When it has moved and is at rest. */
async function lookAtBoth({ from, to }: Both): Promise<void> {
  const { sealed, delayedCount, groups: before } = await from.messages.describe(topicName);
  if (!/^tenon: moved, /.test(sealed ?? "")) throw new Violation(`the topic has moved, and its seal says "${sealed}"`);
  if (delayedCount > 0)
    throw new Violation(`the topic has moved, and ${delayedCount} delayed messages are left behind`);
  const own = before.map(({ group }) => group).sort();
  if (own.join() !== [...groups].join()) throw new Violation(`the topic has moved, and has the groups ${own.join()}`);
  for (const { group, lanes } of (await to.messages.describe(topicName)).groups) {
    const lag = lanes.reduce((sum, lane) => sum + lane.lag, 0);
    if (lag > 0) throw new Violation(`group "${group}" has not settled ${lag} messages on the other engine`);
  }
}
