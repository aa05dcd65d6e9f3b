import { type MissingPeer, runScenarios, type Scenario } from "./harness.ts";
import type { BenchmarkOptions } from "./options.ts";
import type { PeerSpecification } from "./peer.ts";
import { LIMITER_TYPES, limiterContestants, limiterRequirements, limiterScenarios } from "./redis-limiters.ts";
import { environmentOf, printMissing, printRows, printVerdicts, writeJson } from "./report.ts";
import { judgeRatio, type RequiredRatio } from "./requirements.ts";
import { Scratch } from "./scratch.ts";
import { type Server, ServerMissing, startRedis } from "./servers.ts";

const FLEXIBLE = "rate-limiter-flexible, memory";
const KEYS = [1, 10_000];
const own = (type: (typeof LIMITER_TYPES)[number]) => `tenon ${type}, memory`;
const deciding = (keys: number) =>
  keys === 1 ? "decisions, 1 key" : `decisions, ${keys.toLocaleString("en-US")} keys`;

const onRedis = (peer: string) => `${peer}, redis`;

/** In memory half its time per decision, or less. */
const REQUIRED: readonly RequiredRatio[] = [
  ...KEYS.flatMap((keys) =>
    LIMITER_TYPES.map((type) => ({ scenario: deciding(keys), ours: own(type), theirs: FLEXIBLE, atLeast: 2 })),
  ),
  ...limiterRequirements(onRedis),
];

export async function limiters({ rounds, quick, jsonPath }: BenchmarkOptions): Promise<number> {
  const scratch = new Scratch();
  const missing: MissingPeer[] = [];
  const server = await redisServer(scratch, missing);
  try {
    const options = { directory: scratch.directory, survives: "nothing", backlog: 0 } as const;
    const inMemory: readonly PeerSpecification[] = [
      { name: FLEXIBLE, module: "rate-limiter-flexible", options },
      ...LIMITER_TYPES.map((type) => ({
        name: own(type),
        module: "tenon-limiter",
        options: { ...options, limiter: type },
      })),
    ];
    const durationMs = quick ? 100 : 300;
    const scenarios = KEYS.map(
      (keys): Scenario => ({
        name: deciding(keys),
        call: { method: "decide", keys, durationMs },
        peers: inMemory.map(({ name }) => name),
      }),
    );
    const shared = server === undefined ? [] : limiterContestants(onRedis, { ...options, port: server.port });
    const measured = await runScenarios(
      server === undefined ? scenarios : [...scenarios, ...limiterScenarios([onRedis], durationMs)],
      [...inMemory, ...shared],
      rounds,
      (rows) => printRows(rows, { floor: FLEXIBLE, ours: "tenon" }),
    );
    const allMissing = [...missing, ...measured.missing];
    printMissing(allMissing);
    const verdicts = REQUIRED.map((required) => judgeRatio(required, measured.rows));
    const holds = printVerdicts(verdicts);
    const environment = await environmentOf(scratch.directory);
    await writeJson("limiters", jsonPath, { environment, rounds, quick, ...measured, missing: allMissing, verdicts });
    return holds && measured.missing.length === 0 ? 0 : 1;
  } finally {
    await server?.stop();
  }
}

async function redisServer(scratch: Scratch, missing: MissingPeer[]): Promise<Server | undefined> {
  try {
    return await startRedis(await scratch.make("redis"), "none");
  } catch (error) {
    if (!(error instanceof ServerMissing)) throw error;
    missing.push({ peer: "everything on Redis", reason: error.message });
    return undefined;
  }
}
