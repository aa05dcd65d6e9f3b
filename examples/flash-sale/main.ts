import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type CommandLine, parseCommandLine, UsageError, usage } from "./options.ts";
import { type Outcome, reportText, summarize } from "./report.ts";
import { run } from "./run.ts";
import { embeddedStores } from "./stores.ts";

process.exitCode = await main(process.argv.slice(2));

async function main(args: readonly string[]): Promise<number> {
  let commandLine: CommandLine;
  let directory: string;
  try {
    commandLine = parseCommandLine(args);
    if (commandLine.help) {
      console.log(usage);
      return 0;
    }
    directory = openDirectory(commandLine.directory);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return refuse(error);
  }
  const interrupted = new AbortController();
  const interrupt = () => interrupted.abort();
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  try {
    return await sell(commandLine, directory, interrupted.signal);
  } catch (error) {
    if (interrupted.signal.aborted) return 130;
    if (error instanceof UsageError) return refuse(error);
    throw error;
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    if (commandLine.directory === undefined) rmSync(directory, { recursive: true, force: true });
  }
}

async function sell(commandLine: CommandLine, directory: string, signal: AbortSignal): Promise<number> {
  // With --json standard output holds nothing but the object.
  const progress = commandLine.json ? process.stderr : process.stdout;
  const { engine } = commandLine;
  if (engine === "embedded") {
    return report(await run({ ...commandLine, stores: embeddedStores(directory), progress, signal }), commandLine);
  }
  const { openServers } = await import("./servers.ts");
  const opened = await openServers({ ...commandLine, engine, directory });
  let outcome: Outcome;
  try {
    const { stores, own } = opened;
    outcome = await run({ ...commandLine, stores, own, progress, signal });
  } finally {
    await opened.close({ keep: commandLine.directory !== undefined });
  }
  return report(outcome, commandLine);
}

function report(outcome: Outcome, commandLine: CommandLine): number {
  console.log(commandLine.json ? JSON.stringify(summarize(outcome)) : reportText(outcome));
  if (commandLine.json && !outcome.audit.holds) console.error(reportText(outcome));
  return outcome.audit.holds ? 0 : 1;
}

function refuse(error: UsageError): number {
  console.error(`flash sale: ${error.message} (--help lists the options)`);
  return 2;
}

function openDirectory(directory: string | undefined): string {
  if (directory === undefined) return mkdtempSync(join(tmpdir(), "flash-sale-"));
  try {
    mkdirSync(directory, { recursive: true });
    if (readdirSync(directory).length === 0) return directory;
  } catch (error) {
    throw new UsageError(`--data ${directory}: ${(error as Error).message}`);
  }
  throw new UsageError(`--data ${directory}: the directory is not empty; a sale begins in a new one`);
}
