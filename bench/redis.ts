import { type MissingPeer, runScenarios, type Scenario } from "./harness.ts";
import { type BenchmarkOptions, UsageError } from "./options.ts";
import type { Contention, PeerSpecification, Survives } from "./peer.ts";
import { limiterContestants, limiterRequirements, limiterScenarios } from "./redis-limiters.ts";
import { environmentOf, print, printMissing, printRows, printVerdicts, writeJson } from "./report.ts";
import { judgeRatio, type RequiredRatio } from "./requirements.ts";
import { Scratch } from "./scratch.ts";
import { type Server, startRedis } from "./servers.ts";

const IN_FLIGHT = [1, 64, 1_024, 8_192];
const REQUIRED_IN_FLIGHT = 1_024;
/** For what nothing is required of. */
const OTHER_ROUNDS_MAX = 3;

const CONSUME = "consume + settle";
const UNCONTENDED = "locks, 1 caller";
const IN_TURNS = "locks, 64 contenders, each in turn";
const OWN_LOCKS = "locks, 64 callers with a lock each";
const AT_WILL = "locks, 64 contenders, whoever comes first";
const publishing = (inFlight: number) => `publish, ${inFlight.toLocaleString("en-US")} in flight`;

const LOCKING: Readonly<Record<string, Contention>> = {
  [UNCONTENDED]: { callers: 1, locks: "own" },
  [OWN_LOCKS]: { callers: 64, locks: "own" },
  [IN_TURNS]: { callers: 64, locks: "shared, in turns" },
  [AT_WILL]: { callers: 64, locks: "shared, at will" },
};

interface Level {
  readonly survives: Survives;
  readonly persistence: "always" | "none";
  readonly text: string;
}
const LEVELS: readonly Level[] = [
  { survives: "nothing", persistence: "none", text: "unpersisted" },
  { survives: "machine", persistence: "always", text: "appendfsync always" },
];

const FLOOR_SCRIPTS = "floor: the same scripts";
const FLOOR_SET = "floor: SET NX PX and a script";
const TENON_BYTES = "tenon, bytes";
const TENON_JSON = "tenon, JSON";
const TENON_MUTEX = "tenon mutex";
const BULLMQ = "bullmq";
const REDLOCK = "redlock";
const REDIS_SEMAPHORE = "redis-semaphore";

const at = (peer: string, { text }: Level) => `${peer}, ${text}`;

/** At each level of durability, among contestants of the same one. */
const REQUIRED: readonly RequiredRatio[] = LEVELS.flatMap((level) => {
  const ratio = (scenario: string, ours: string, theirs: string, atLeast: number): RequiredRatio => {
    return { scenario, ours: at(ours, level), theirs: at(theirs, level), atLeast };
  };
  return [
    ratio(publishing(REQUIRED_IN_FLIGHT), TENON_BYTES, FLOOR_SCRIPTS, 0.8),
    ratio(CONSUME, TENON_BYTES, FLOOR_SCRIPTS, 0.8),
    ratio(publishing(REQUIRED_IN_FLIGHT), TENON_JSON, BULLMQ, 2),
    ratio(CONSUME, TENON_JSON, BULLMQ, 2),
    ratio(UNCONTENDED, TENON_MUTEX, FLOOR_SET, 0.8),
    ratio(UNCONTENDED, TENON_MUTEX, REDLOCK, 1.5),
    ratio(UNCONTENDED, TENON_MUTEX, REDIS_SEMAPHORE, 1.5),
    ratio(IN_TURNS, TENON_MUTEX, REDLOCK, 1.5),
    ratio(IN_TURNS, TENON_MUTEX, REDIS_SEMAPHORE, 1.5),
    ...limiterRequirements((peer) => at(peer, level)),
  ];
});

/** Exit code 0 when every required ratio holds that could be measured, else 1. */
export async function redis({ rounds, quick, jsonPath, only = "" }: BenchmarkOptions): Promise<number> {
  const scenarios = scenariosFor(quick).filter(({ name }) => name.includes(only));
  if (scenarios.length === 0) {
    const names = scenariosFor(quick).map(({ name }) => `"${name}"`);
    throw new UsageError(`no scenario's name contains "${only}"; there are ${names.join(", ")}`);
  }
  const scratch = new Scratch();
  const servers: Server[] = [];
  try {
    const missing: MissingPeer[] = [];
    const wanted = new Set(scenarios.flatMap(({ peers }) => peers));
    const all = await contestants(scratch, servers, missing, quick);
    const specifications = all.filter(({ name }) => wanted.has(name));
    const comparison = { floor: "floor", ours: "tenon" };
    const measured = await runScenarios(scenarios, specifications, rounds, (rows) => printRows(rows, comparison));
    const allMissing = [...missing, ...measured.missing];
    printMissing(allMissing);
    const required = REQUIRED.filter(({ scenario }) => scenarios.some(({ name }) => name === scenario));
    const verdicts = required.map((ratio) => judgeRatio(ratio, measured.rows));
    const holds = printVerdicts(verdicts);
    const environment = await environmentOf(scratch.directory);
    await writeJson("redis", jsonPath, {
      environment,
      rounds,
      quick,
      only,
      ...measured,
      missing: allMissing,
      verdicts,
    });
    return holds && measured.missing.length === 0 ? 0 : 1;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Every contestant at every level, each level on a server of its own. */
async function contestants(
  scratch: Scratch,
  servers: Server[],
  missing: MissingPeer[],
  quick: boolean,
): Promise<readonly PeerSpecification[]> {
  const specifications: PeerSpecification[] = [];
  for (const level of LEVELS) {
    const { survives, persistence, text } = level;
    let server: Server;
    try {
      server = await startRedis(await scratch.make(`redis ${persistence}`), persistence);
    } catch (error) {
      missing.push({
        peer: `everything that is ${text}`,
        reason: error instanceof Error ? error.message : String(error),
      });
      continue;
    }
    servers.push(server);
    print(`started redis-server ${server.version}, ${text}`);
    const add = async (peer: string, module: string, options: Partial<PeerSpecification["options"]> = {}) => {
      const name = at(peer, level);
      const directory = await scratch.make(name);
      const own = { directory, survives, port: server.port, backlog: 0, ...options };
      specifications.push({ name, module, options: own });
    };
    // A consumer runs for hours: with 200,000 messages a third of its time, and a quarter of the floor's, was its start: compiling code.
    const backlog = quick ? 50_000 : 600_000;
    await add(FLOOR_SCRIPTS, "redis-scripts", { backlog });
    await add(TENON_BYTES, "tenon", { backlog, encoding: "bytes" });
    await add(TENON_JSON, "tenon", { backlog, encoding: "json" });
    await add(BULLMQ, "bullmq", { backlog: quick ? 5_000 : 20_000 });
    await add(FLOOR_SET, "redis-set");
    await add(TENON_MUTEX, "tenon-locks");
    await add(REDLOCK, "redlock");
    await add(REDIS_SEMAPHORE, "redis-semaphore");
    const directory = await scratch.make(`limiters ${text}`);
    const options = { directory, survives, port: server.port, backlog: 0 };
    specifications.push(...limiterContestants((peer) => at(peer, level), options));
  }
  return specifications;
}

function scenariosFor(quick: boolean): readonly Scenario[] {
  const everywhere = (...peers: readonly string[]) => LEVELS.flatMap((level) => peers.map((peer) => at(peer, level)));
  const messengers = everywhere(FLOOR_SCRIPTS, TENON_BYTES, TENON_JSON, BULLMQ);
  return [
    ...IN_FLIGHT.map((inFlight): Scenario => {
      const required = inFlight === REQUIRED_IN_FLIGHT;
      const durationMs = quick ? 300 : required ? 1_000 : 500;
      const roundsMax = required ? undefined : OTHER_ROUNDS_MAX;
      const call = { method: "publish", inFlight, durationMs } as const;
      return { name: publishing(inFlight), call, roundsMax, peers: messengers };
    }),
    { name: CONSUME, call: { method: "consume" }, peers: messengers },
    ...Object.entries(LOCKING).map(([name, contention]): Scenario => {
      const required = REQUIRED.some(({ scenario }) => scenario === name);
      return {
        name,
        call: { method: "lock", contention, durationMs: quick ? 300 : 1_000 },
        roundsMax: required ? undefined : OTHER_ROUNDS_MAX,
        peers: everywhere(...(contention.locks === "own" ? [FLOOR_SET] : []), TENON_MUTEX, REDLOCK, REDIS_SEMAPHORE),
      };
    }),
    ...limiterScenarios(
      LEVELS.map((level) => (peer: string) => at(peer, level)),
      quick ? 150 : 500,
    ),
  ];
}
