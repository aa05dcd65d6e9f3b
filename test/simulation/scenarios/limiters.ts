/** Gates that ask one engine how often and how many may pass, by every kind of rule, while processes die, connections break and clocks step. */
import type { ConcurrencyRule, RateEngine, RateRule } from "../../../src/contracts/rates.ts";
import {
  checkRates,
  type ProcessContext,
  type RateHistory,
  rateHistory,
  recordRates,
  type SimulatedSystem,
  Violation,
} from "../../../src/simulation/index.ts";
import type { World } from "../../../src/world/world.ts";
import type { ScenarioDefinition } from "../scenario.ts";
import { connected, drawRemote, type RemoteSettings, serveEngine, unlessOutage } from "../served-engine.ts";

const gates = ["gate-1", "gate-2", "gate-3"];

export const scenario: ScenarioDefinition = { name: "limiters", options: { livenessMs: 120_000 }, run };

async function run(system: SimulatedSystem): Promise<void> {
  const served = serveEngine(system);
  const settings = drawRemote(system);
  const rules = drawRules(system);
  const inside: ConcurrencyRule = {
    type: "concurrency",
    limit: system.random.integer(1, 3),
    holdMs: system.random.pick([500, 3_000, 20_000]),
  };
  const meanMs = system.random.pick([500, 1_000, 2_000]);
  const history = rateHistory(() => system.nowMs);
  let resting = false;

  const main = async ({ name, incarnation, world }: ProcessContext): Promise<void> => {
    const engine = await connected(world, settings);
    const client = `${name}#${incarnation}`;
    const rates = recordRates(engine.rates, history, client);
    const decides = async (): Promise<void> => {
      const { key, rule } = rules[Math.floor(world.random.float() * rules.length)]!;
      const count = world.random.float() < 0.8 ? 1 : 2;
      // Some come as a crowd.
      const crowd = world.random.float() < 0.2 ? 4 : 1;
      await Promise.all(Array.from({ length: crowd }, () => rates.decide(key, rule, count)));
    };
    let visits = 0;
    const enters = async (): Promise<void> => {
      visits += 1;
      await visit(rates, inside, `${client}/${visits}`, world);
    };
    const loop = async (work: () => Promise<void>): Promise<void> => {
      while (!resting) {
        await world.timers.sleep(world.random.float() * 2 * meanMs);
        await unlessOutage(work);
      }
    };
    await Promise.all([loop(decides), loop(decides), loop(enters)]);
  };

  const handles = gates.map((gate) => system.process(gate, main));
  await system.healed();
  resting = true;
  await Promise.all(handles.map((handle) => system.until(`${handle.name} rests`, () => handle.state === "ended")));
  await allPassAtRest(system, settings, rules, inside, history);
  checkRates(history.operations, { clock: served.clock });
}

/** Enters, stays a while, and leaves, unless it forgets to. */
async function visit(rates: RateEngine, rule: ConcurrencyRule, permit: string, world: World): Promise<void> {
  const { allowed } = await rates.enter("inside", rule, permit);
  if (!allowed) return;
  await world.timers.sleep(world.random.float() * rule.holdMs);
  if (world.random.float() < 0.3) await rates.enter("inside", rule, permit);
  if (world.random.float() < 0.8) await rates.leave("inside", rule, permit);
}

/**
 * When everything has rested for longer than any rule looks back, whoever comes may pass: at once, or, as a clock that was set back is noticed only when somebody
 * asks, after as much time again.
 */
async function allPassAtRest(
  system: SimulatedSystem,
  settings: RemoteSettings,
  rules: readonly Drawn[],
  inside: ConcurrencyRule,
  history: RateHistory,
): Promise<void> {
  await system.sleep(30_000);
  const late = system.process("late", async ({ world }: ProcessContext) => {
    const rates = recordRates((await connected(world, settings)).rates, history, "late");
    const asks = [
      ...rules.map(({ key, rule }) => ({ what: rule.type, ask: () => rates.decide(key, rule, 1) })),
      { what: inside.type, ask: () => rates.enter("inside", inside, "late") },
    ];
    const refused: typeof asks = [];
    for (const each of asks) if (!(await each.ask()).allowed) refused.push(each);
    await world.timers.sleep(30_000);
    for (const { what, ask } of refused) {
      if (!(await ask()).allowed) throw new Violation(`${what} refuses although nobody has passed for a minute`);
    }
  });
  await late.ended;
}

interface Drawn {
  readonly key: string;
  readonly rule: RateRule;
}

function drawRules({ random }: SimulatedSystem): readonly Drawn[] {
  const limit = random.integer(2, 8);
  const windowMs = random.pick([1_000, 5_000, 20_000]);
  const ratePerSecond = random.pick([0.3, 1, 3.3]);
  const countRefusals = random.chance(0.2);
  const rules: readonly RateRule[] = [
    { type: "fixedWindow", limit, windowMs, countRefusals },
    { type: "slidingWindow", limit, windowMs, cells: random.integer(2, 10), countRefusals },
    { type: "slidingLog", limit, windowMs, countRefusals },
    { type: "leakyBucket", ratePerSecond, queueMax: random.integer(1, 6) },
    { type: "tokenBucket", ratePerSecond, burst: random.integer(2, 6) },
  ];
  return rules.map((rule) => ({ key: `key of ${rule.type}`, rule }));
}
