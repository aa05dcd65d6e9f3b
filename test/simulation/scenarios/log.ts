/** Workers that run one pipe over one engine: each input counts once in both outputs, whoever is killed, paused, cut off or takes over meanwhile. */
import { TenonError } from "../../../src/contracts/errors.ts";
import {
  checkAppended,
  checkDerivedOnce,
  type DerivedRecord,
  type LogAppend,
  type ProcessContext,
  type SimulatedSystem,
} from "../../../src/simulation/index.ts";
import { withoutTransactions } from "../../../src/streams/fixtures.test.ts";
import { json, type Log, log, pipe, type StreamsEngine } from "../../../src/streams/index.ts";
import type { ScenarioDefinition } from "../scenario.ts";
import { connected, drawRemote, isOutage, type RemoteSettings, serveEngine, unlessOutage } from "../served-engine.ts";

interface Click {
  readonly value: string;
}

interface Made {
  readonly value: string;
  /** `partition/position` of its input. */
  readonly from: string;
}

const sources = ["source-1", "source-2"];
const workers = ["worker-1", "worker-2", "worker-3"];

export const scenario: ScenarioDefinition = { name: "log", options: { livenessMs: 240_000 }, run };

async function run(system: SimulatedSystem): Promise<void> {
  serveEngine(system);
  const { random } = system;
  const settings = drawRemote(system);
  const style: Style = {
    settings,
    transactions: random.chance(0.7),
    // Without leases workers take partitions away from each other all the time.
    leases: random.chance(0.7),
    recordsMax: random.pick([1, 5, 500]),
    failing: random.pick([0, 0, 0.1]),
    idleMs: random.pick([100, 500, 2_000]),
  };
  const appends = new Map<string, LogAppend[]>();
  let resting = false;

  const source = async ({ name, incarnation, world }: ProcessContext): Promise<void> => {
    const client = `${name}#${incarnation}`;
    const engine = await connected(world, settings);
    const { clicks } = logsOf(engine);
    const own: LogAppend[] = [];
    appends.set(client, own);
    for (let number = 0; !resting; number++) {
      await world.timers.sleep(world.random.float() * 2 * style.idleMs);
      const value = `${client}/${number}`;
      // Until it is answered nobody knows; and its process may die before.
      own.push({ value, outcome: "unknown" });
      const outcome = await clicks.append({ value }, { key: `key ${number % 7}` }).then(
        () => "stored" as const,
        (error: unknown) => {
          if (!isOutage(error)) throw error;
          return (error as TenonError).outcome === "unknown" ? ("unknown" as const) : ("refused" as const);
        },
      );
      own[number] = { value, outcome };
    }
  };

  const worker = async ({ world }: ProcessContext): Promise<void> => {
    const engine = await connected(world, settings);
    const logs = engine.log;
    const { transactions, leases } = style;
    const streams: StreamsEngine = {
      world,
      log: transactions ? logs : withoutTransactions(logs),
      ...(leases && { leases: engine.leases }),
    };
    for (;;) {
      await unlessOutage(() => work(streams, style).catch(unlessFenced));
      await world.timers.sleep(world.random.float() * 5_000);
    }
  };

  const handles = sources.map((name) => system.process(name, source));
  for (const name of workers) system.process(name, worker);
  await system.healed();
  resting = true;
  await Promise.all(handles.map((handle) => system.until(`${handle.name} rests`, () => handle.state === "ended")));
  const reader = system.process("reader", async ({ world }: ProcessContext) => {
    const engine = await connected(world, settings);
    const { clicks, copies, counts } = logsOf(engine);
    while (!(await isDone(engine))) await world.timers.sleep(500);
    const inputs = await entriesOf(clicks);
    for (const own of appends.values()) {
      const names = new Set(own.map(({ value }) => value));
      checkAppended(
        own,
        inputs.filter(({ value }) => names.has(value.value)).map((entry) => ({ ...entry, value: entry.value.value })),
      );
    }
    for (const output of [copies, counts]) checkDerivedOnce(inputs, (await entriesOf(output)).map(derived));
  });
  await reader.ended;
}

interface Style {
  readonly settings: RemoteSettings;
  readonly transactions: boolean;
  readonly leases: boolean;
  readonly recordsMax: number;
  readonly failing: number;
  readonly idleMs: number;
}

function logsOf(engine: StreamsEngine) {
  return {
    clicks: log(engine, "clicks", { codec: json<Click>(), partitions: 3, appendTimeoutMs: 5_000 }),
    copies: log(engine, "copies", { codec: json<Made>(), partitions: 2 }),
    counts: log(engine, "counts", { codec: json<Made>(), partitions: 1 }),
  };
}

/** Runs the pipe until it stops. */
async function work(engine: StreamsEngine, style: Style): Promise<void> {
  const { clicks, copies, counts } = logsOf(engine);
  const { world } = engine;
  const running = await pipe(
    clicks,
    "copy",
    async ({ value: { value }, key, partition, position }) => {
      await world.timers.sleep(world.random.float() * 5);
      if (world.random.float() < style.failing) throw new Error("not now");
      const made: Made = { value, from: `${partition}/${position}` };
      return [copies.entry(made, { key }), counts.entry(made)];
    },
    {
      outputs: [copies, counts],
      guarantee: style.transactions ? "exactly-once" : "at-least-once",
      recordsMax: style.recordsMax,
      retry: { attemptsMax: 1_000, delayMs: 50, delayMsMax: 500 },
    },
  );
  await running.ended;
}

/** Another worker took a partition over. */
function unlessFenced(error: unknown): void {
  if (!(error instanceof TenonError && error.code === "lost")) throw error;
}

async function isDone(engine: StreamsEngine): Promise<boolean> {
  const positions = await engine.log.positions("copy", "clicks");
  const { partitions } = await engine.log.describe("clicks");
  return partitions.every(({ first, next }, partition) => (positions.get(partition) ?? first) === next);
}

async function entriesOf<T>(from: Log<T>) {
  const entries: { partition: number; position: bigint; value: T }[] = [];
  for (let partition = 0; partition < from.partitions; partition++)
    for await (const { position, value } of from.read({ partition })) entries.push({ partition, position, value });
  return entries;
}

function derived({ partition, position, value }: { partition: number; position: bigint; value: Made }): DerivedRecord {
  const [inputPartition = "", inputPosition = ""] = value.from.split("/");
  return { partition, position, from: { partition: Number(inputPartition), position: BigInt(inputPosition) } };
}
