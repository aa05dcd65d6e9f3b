import { rm } from "node:fs/promises";
import { directorySize } from "./directory-size.ts";
import { runEngineStep } from "./engine-step.ts";
import type { BenchmarkOptions } from "./options.ts";
import { environmentOf, print, printVerdicts, writeJson } from "./report.ts";
import { judgeContent, judgeLimit, type RequiredContent, type RequiredLimit } from "./requirements.ts";
import { Scratch } from "./scratch.ts";

const MESSAGES = 10_000_000;
const MESSAGES_QUICK = 1_000_000;
const MESSAGES_CONSUMED = 1_000_000;
const MESSAGES_BEFORE_KILL = 100_000;
const RESIDENT_MIB_MAX = 400;
const REOPEN_CLEAN_MS_MAX = 3_000;
const REOPEN_KILLED_MS_MAX = 15_000;

/** A backlog much larger than memory may take: what it costs to hold, to open again, and to begin to work off. */
export async function backlog({ quick, jsonPath }: BenchmarkOptions): Promise<number> {
  const scratch = new Scratch();
  const directory = await scratch.make("backlog");
  const messages = quick ? MESSAGES_QUICK : MESSAGES;
  print(`publishing ${messages.toLocaleString("en-US")} messages of 200 bytes to 8 partitions …`);
  const published = await runEngineStep({ directory, step: { name: "publish", count: messages } });
  const size = await directorySize(directory);
  print(`  in ${seconds(published.workMs)}: ${rate(messages, published.workMs)} messages per second`);
  print(`  ${mebibytes(size.sizeBytes).toFixed(0)} MiB in ${size.files} files`);
  const clean = await runEngineStep({ directory, step: { name: "open" } });
  print(`opened after a clean close in ${seconds(clean.openMs)}`);
  await runEngineStep({ directory, step: { name: "publish-until-killed", count: MESSAGES_BEFORE_KILL } });
  const killed = await runEngineStep({ directory, step: { name: "open" } });
  print(`opened after SIGKILL in the middle of publishing in ${seconds(killed.openMs)}`);
  const consumed = await runEngineStep({ directory, step: { name: "consume", count: MESSAGES_CONSUMED } });
  print(`handled and settled the first ${MESSAGES_CONSUMED.toLocaleString("en-US")} in ${seconds(consumed.workMs)}`);

  const resident = (bytes: number, what: string): RequiredLimit => ({
    what: `resident memory, ${what}`,
    value: mebibytes(bytes),
    below: RESIDENT_MIB_MAX,
    unit: "MiB",
  });
  const limits: RequiredLimit[] = [
    resident(published.residentBytesMax, "publishing"),
    resident(Math.max(clean.residentBytesMax, killed.residentBytesMax), "opened again"),
    resident(consumed.residentBytesMax, "working it off"),
    { what: "opening after a clean close", value: clean.openMs, below: REOPEN_CLEAN_MS_MAX, unit: "ms" },
    { what: "opening after SIGKILL", value: killed.openMs, below: REOPEN_KILLED_MS_MAX, unit: "ms" },
  ];
  const contents: RequiredContent[] = [
    { what: "unsettled messages after a clean close", found: clean.unsettled, atLeast: messages },
    { what: "unsettled messages after SIGKILL", found: killed.unsettled, atLeast: messages + MESSAGES_BEFORE_KILL },
  ];
  const verdicts = [...limits.map(judgeLimit), ...contents.map(judgeContent)];
  const holds = printVerdicts(verdicts);
  const environment = await environmentOf(scratch.directory);
  await writeJson("backlog", jsonPath, {
    environment,
    quick,
    messages,
    size,
    published,
    clean,
    killed,
    consumed,
    verdicts,
  });
  await rm(directory, { recursive: true });
  return holds ? 0 : 1;
}

const seconds = (ms: number) => `${(ms / 1_000).toFixed(2)} s`;
const mebibytes = (bytes: number) => bytes / 2 ** 20;
const rate = (count: number, ms: number) => Math.round((count / ms) * 1_000).toLocaleString("en-US");
