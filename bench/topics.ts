import { directorySize } from "./directory-size.ts";
import { runEngineStep } from "./engine-step.ts";
import type { BenchmarkOptions } from "./options.ts";
import { environmentOf, print, printVerdicts, writeJson } from "./report.ts";
import { judgeContent, judgeLimit, type RequiredContent, type RequiredLimit } from "./requirements.ts";
import { Scratch } from "./scratch.ts";

const TOPICS = 10_000;
const OPEN_MS_MAX = 3_000;
/** What a directory with one topic would take too, and room for segments: far below one per topic. */
const FILES_MAX = 50;
const DESCRIPTORS_MAX = 50;

/** Ten thousand topics with 8 partitions, each with a message: no file each, no descriptor each, opened at once. */
export async function topics({ quick, jsonPath }: BenchmarkOptions): Promise<number> {
  const scratch = new Scratch();
  const directory = await scratch.make("topics");
  print(`declaring ${TOPICS.toLocaleString("en-US")} topics with 8 partitions …`);
  const declared = await runEngineStep({ directory, step: { name: "declare-topics", count: TOPICS } });
  const size = await directorySize(directory);
  print(`  in ${(declared.workMs / 1_000).toFixed(2)} s; ${(size.sizeBytes / 2 ** 20).toFixed(0)} MiB`);
  const clean = await runEngineStep({ directory, step: { name: "open" } });
  await runEngineStep({ directory, step: { name: "declare-until-killed", count: TOPICS } });
  const killed = await runEngineStep({ directory, step: { name: "open" } });

  const limits: RequiredLimit[] = [
    { what: "files", value: size.files, below: FILES_MAX, unit: "" },
    { what: "descriptors", value: Math.max(declared.descriptors, clean.descriptors), below: DESCRIPTORS_MAX, unit: "" },
    { what: "opening after a clean close", value: clean.openMs, below: OPEN_MS_MAX, unit: "ms" },
    { what: "opening after SIGKILL", value: killed.openMs, below: OPEN_MS_MAX, unit: "ms" },
  ];
  const contents: RequiredContent[] = [
    { what: "topics after a clean close", found: clean.topics, atLeast: TOPICS },
    { what: "topics after SIGKILL", found: killed.topics, atLeast: TOPICS },
  ];
  const verdicts = [...limits.map(judgeLimit), ...contents.map(judgeContent)];
  const holds = printVerdicts(verdicts);
  const environment = await environmentOf(scratch.directory);
  await writeJson("topics", jsonPath, { environment, quick, topics: TOPICS, size, declared, clean, killed, verdicts });
  return holds ? 0 : 1;
}
