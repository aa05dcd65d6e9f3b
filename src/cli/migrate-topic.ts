import { parseArgs } from "node:util";
import { TenonError } from "../contracts/errors.ts";
import { type MoveProgress, type MoveReport, moveTopic } from "../moving/index.ts";
import { systemWorld } from "../world/index.ts";
import { openEngine } from "./engine-modules.ts";
import { counted, MoveText } from "./move-text.ts";
import type { Output, Surroundings } from "./surroundings.ts";
import { UsageError } from "./usage-error.ts";

export const migrateTopicUsage = `Usage: tenon migrate-topic TOPIC --from MODULE --to MODULE [--lag-max N] [--json]

Moves a topic, with where its groups stand, its dead letters and its retries, to another engine while it is published to and consumed. Those who do so
use moving(from, to) of tenon/moving.

  --from MODULE   the engine that it leaves: a file that exports an engine, a promise of one, or a function that gives one,
                  as \`engine\` or as its default
  --to MODULE     the engine that it goes to
  --lag-max N     how many messages may still be missing when publishers are held up, until these are copied   (1000)
  --json          says how it goes on in lines of JSON
  --help          prints this

It may be ended at any time, and goes on when it is started again.

Exit code: 0 when the topic has moved, 1 when it failed, 2 for a wrong command line, 130 or 143 when SIGINT or SIGTERM interrupted it.
`;

interface CommandLine {
  readonly topic: string;
  readonly from: string;
  readonly to: string;
  readonly lagMax: number | undefined;
  readonly json: boolean;
}

/** Who hears of the move. */
interface Listener {
  progress(progress: MoveProgress): void;
  moved(report: MoveReport): void;
  interrupted(text: string): void;
  failed(error: unknown, text: string): void;
}

const signalCodes: Readonly<Record<string, number>> = { SIGINT: 130, SIGTERM: 143 };
const holdMs = 2 ** 31 - 1;

export async function migrateTopic(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const line = parse(args);
  const { signal, out, error: errors } = surroundings;
  const world = systemWorld();
  const listener = line.json ? jsonListener(line.topic, out) : textListener(out, errors, () => world.clock.monotonic());
  // An engine in this process waits without holding it.
  const release = world.timers.schedule(holdMs, () => undefined, { keepsAlive: true });
  let stage: MoveProgress["stage"] | undefined;
  const onProgress = (progress: MoveProgress): void => {
    if (progress.topic === line.topic) stage = progress.stage;
    listener.progress(progress);
  };
  try {
    listener.moved(await moved(line, surroundings, onProgress));
    return 0;
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (signal.aborted) {
      listener.interrupted(`interrupted by ${signal.reason}. ${nextStep(stage)}`);
      return signalCodes[signal.reason] ?? 1;
    }
    listener.failed(error, `${oneLine(error)}. ${nextStep(stage)}`);
    return 1;
  } finally {
    release();
  }
}

async function moved(
  { topic, from, to, lagMax }: CommandLine,
  { directory, signal }: Surroundings,
  onProgress: (progress: MoveProgress) => void,
): Promise<MoveReport> {
  await using source = await unlessAborted(signal, openEngine(from, directory));
  await using target = await unlessAborted(signal, openEngine(to, directory));
  return await moveTopic({ from: source.engine, to: target.engine, topic, lagMax, signal, onProgress });
}

/** What is still being opened when the command is interrupted ends with the process. */
async function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  if (signal.aborted) abort();
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}

function parse(args: readonly string[]): CommandLine {
  const { values, positionals } = parsed(args);
  const [topic, ...others] = positionals;
  if (topic === undefined || topic === "") throw new UsageError("the topic is missing");
  if (others.length > 0) throw new UsageError(`one topic at a time, not also ${others[0]}`);
  const { from, to, json = false } = values;
  if (from === undefined) throw new UsageError("--from is missing");
  if (to === undefined) throw new UsageError("--to is missing");
  const lagMax = values["lag-max"];
  if (lagMax !== undefined && !/^\d{1,15}$/.test(lagMax)) {
    throw new UsageError(`--lag-max takes a whole number, not '${lagMax}'`);
  }
  return { topic, from, to, lagMax: lagMax === undefined ? undefined : Number(lagMax), json };
}

function parsed(args: readonly string[]) {
  const text = { type: "string" } as const;
  const options = { from: text, to: text, "lag-max": text, json: { type: "boolean" } } as const;
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: true });
  } catch (error) {
    const [firstSentence = "wrong options"] = (error as Error).message.split(/\. |\n/);
    throw new UsageError(firstSentence);
  }
}

/** Where everybody is when the move ends at this stage, and what to do. */
function nextStep(stage: MoveProgress["stage"] | undefined): string {
  const again = "The same command goes on with it";
  switch (stage) {
    case undefined:
      return "Nothing was done";
    case "copying":
      return `Publishers and consumers go on where they were. ${again}`;
    case "closing":
      return `Publishers are held up until then. ${again}`;
    case "copied":
      return `Publishers use the other engine, and consumers are held up until then. ${again}`;
    case "moved":
    case "forwarding":
      return `Publishers and consumers use the other engine; what is delayed or in topics of dead letters is still to follow. ${again}`;
  }
}

/** Neither a stack nor more than a line, whoever threw it. */
function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const [first = ""] = text.split("\n");
  return first.replace(/\.$/, "") || "it failed";
}

function textListener(out: Output, errors: Output, now: () => number): Listener {
  const text = new MoveText(out, now);
  return {
    progress: (progress) => text.show(progress),
    moved: ({ topics: [topic, ...others], copiedCount }) => {
      const more = others.length === 0 ? "" : `, with ${others.join(", ")}`;
      text.line(`${topic} has moved: ${counted(copiedCount, "message")} copied${more}`);
    },
    interrupted: (what) => text.line(what),
    failed: (_, what) => {
      text.clear();
      errors.write(`tenon: ${what}\n`);
    },
  };
}

function jsonListener(topic: string, out: Output): Listener {
  const say = (event: string, more: object): void => {
    out.write(`${JSON.stringify({ event, topic, ...more })}\n`);
  };
  return {
    progress: (progress) => say("progress", progress),
    moved: (report) => say("moved", report),
    interrupted: (message) => say("interrupted", { message }),
    failed: (error, message) => {
      const known = error instanceof TenonError ? { code: error.code, outcome: error.outcome } : {};
      say("failed", { ...known, message });
    },
  };
}
