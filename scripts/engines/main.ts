/** Starts real servers for tests, benchmarks and examples: `npm run engines -- up | down | status [name …]`. See docs/engines.md. */
import { parseArgs } from "node:util";
import { type EngineName, engineNames, enginesDirectory } from "./addresses.ts";
import { allEngines } from "./all-engines.ts";
import type { Engine } from "./engine.ts";
import { down, type EngineStatus, statusOf, up } from "./engines.ts";
import { State, withLock } from "./state.ts";

const usage = `Usage: npm run engines -- up [name …]              start, and wait until they serve
       npm run engines -- down [--clean] [name …]  stop what was started; --clean deletes its data, too
       npm run engines -- status [--json] [name …]
Names: ${engineNames.join(", ")}; all when left out.`;

class UsageError extends Error {}

const lockMs = 15 * 60_000;

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}

async function main(parameters: readonly string[]): Promise<void> {
  const { values, positionals } = parse(parameters);
  const [command, ...names] = positionals;
  if (values.help === true) return console.log(usage);
  const engines = chosen(names);
  if (process.platform !== "linux")
    throw new Error("This starts Debian's packages. Elsewhere, `docker compose up` starts the same servers.");
  const directory = enginesDirectory();
  if (command === "status") {
    const state = new State(directory);
    const all = await Promise.all(engines.map((engine) => statusOf(engine, state)));
    return console.log(values.json === true ? JSON.stringify(all, undefined, 2) : tableOf(all));
  }
  if (command !== "up" && command !== "down") throw new UsageError(usage);
  await withLock(directory, lockMs, async () => {
    const workshop = { directory, state: new State(directory), say: (line: string) => console.log(line) };
    if (command === "up") await up(engines, workshop);
    else await down(engines, workshop, { clean: values.clean === true });
  });
}

function parse(parameters: readonly string[]) {
  try {
    return parseArgs({
      args: [...parameters],
      allowPositionals: true,
      options: { clean: { type: "boolean" }, json: { type: "boolean" }, help: { type: "boolean" } },
    });
  } catch (error) {
    throw new UsageError(`${(error as Error).message}\n${usage}`);
  }
}

function chosen(names: readonly string[]): Engine[] {
  const unknown = names.find((name) => !(engineNames as readonly string[]).includes(name));
  if (unknown !== undefined) throw new UsageError(`There is no engine ${unknown}.\n${usage}`);
  const wanted = names.length === 0 ? engineNames : (names as readonly EngineName[]);
  return allEngines.filter((engine) => wanted.includes(engine.name));
}

function tableOf(all: readonly EngineStatus[]): string {
  const rows = all.map(({ name, version, state, urls, processes }) => [
    name,
    version,
    state,
    urls.join(" "),
    processes.join(" "),
  ]);
  const table = [["name", "version", "state", "address", "processes"], ...rows];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
