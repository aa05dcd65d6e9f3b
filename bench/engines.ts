import { randomUUID } from "node:crypto";
import { engineAddress } from "../scripts/engines/addresses.ts";
import { probe } from "../scripts/engines/probes.ts";
import {
  COMPARISON,
  contestantsOf,
  ENGINE_BENCHMARKS,
  type EngineBenchmark,
  scenariosOf,
} from "./engine-contestants.ts";
import { type MissingPeer, type Row, runScenarios } from "./harness.ts";
import { type BenchmarkOptions, UsageError } from "./options.ts";
import { environmentOf, print, printMissing, printRows, printVerdicts, writeJson } from "./report.ts";
import { judgeRatio, type RequiredRatio, type Verdict } from "./requirements.ts";
import { Scratch } from "./scratch.ts";
import { type Server, startRedis } from "./servers.ts";

/** One engine after the other. Exit code 0 when something was measured and every required ratio holds that could be, else 1. */
export async function engines({ rounds, quick, jsonPath, only = "" }: BenchmarkOptions): Promise<number> {
  const chosen = ENGINE_BENCHMARKS.map((engine) => {
    return { engine, measured: scenariosOf(engine, quick).filter(({ scenario }) => scenario.name.includes(only)) };
  }).filter(({ measured }) => measured.length > 0);
  if (chosen.length === 0) throw new UsageError(`no scenario's name contains "${only}"; there are ${allNames()}`);

  const scratch = new Scratch();
  const servers: Server[] = [];
  const rows: Row[] = [];
  const required: RequiredRatio[] = [];
  const absent: MissingPeer[] = [];
  const failed: MissingPeer[] = [];
  try {
    for (const { engine, measured } of chosen) {
      required.push(...measured.flatMap((each) => each.required));
      const directory = await scratch.make(engine.name);
      let url: string;
      try {
        url = await serverOf(engine, directory, servers);
      } catch (error) {
        absent.push({ peer: `everything on ${engine.name}`, reason: (error as Error).message });
        continue;
      }
      print(`\n${engine.name}. The bare client: ${engine.note}`);
      const prefix = `bench${randomUUID().slice(0, 8)}`;
      const scenarios = measured.map(({ scenario }) => scenario);
      const wanted = new Set(scenarios.flatMap(({ peers }) => peers));
      const all = contestantsOf(engine, { url, directory, prefix, quick });
      const specifications = all.filter(({ name }) => wanted.has(name));
      const result = await runScenarios(scenarios, specifications, rounds, (some) => printRows(some, COMPARISON));
      rows.push(...result.rows);
      failed.push(...result.missing.map(({ peer, reason }) => ({ peer: `${peer} on ${engine.name}`, reason })));
    }
    printMissing([...absent, ...failed]);
    const verdicts: readonly Verdict[] = required.map((ratio) => judgeRatio(ratio, rows));
    const holds = printVerdicts(verdicts);
    const environment = await environmentOf(scratch.directory);
    const missing = [...absent, ...failed];
    await writeJson("engines", jsonPath, { environment, rounds, quick, only, rows, missing, verdicts });
    return holds && failed.length === 0 && rows.length > 0 ? 0 : 1;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

/** Redis is emptied between measurements, so it is one of our own. The others are shared, and are where tests look for them, too. */
async function serverOf({ name }: EngineBenchmark, directory: string, servers: Server[]): Promise<string> {
  if (name === "redis") {
    const server = await startRedis(directory, "always");
    servers.push(server);
    return `redis://127.0.0.1:${server.port}`;
  }
  const address = engineAddress(name);
  try {
    await probe(address);
  } catch (error) {
    throw new Error(`it does not answer; start it with \`npm run engines -- up ${name}\``, { cause: error });
  }
  return address.url;
}

function allNames(): string {
  return ENGINE_BENCHMARKS.flatMap((engine) => scenariosOf(engine, true))
    .map(({ scenario }) => `"${scenario.name}"`)
    .join(", ");
}
