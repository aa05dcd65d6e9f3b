import { parseArgs } from "node:util";
import type { Flow, SaleOptions } from "./model.ts";

export interface CommandLine extends SaleOptions {
  /** Whether the sale's process is killed in mid-sale. */
  readonly crash: boolean;
  readonly json: boolean;
  readonly help: boolean;
  /** Where the data stays after the run; a temporary directory is removed when it is left out. */
  readonly directory: string | undefined;
}

/** A mistake in the command line; its message is the one line to print. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

export const usage = `Usage: npm start -- [options]

A flash sale over real HTTP on the embedded engine, with orders in SQLite, and an audit at the end.

  --requests N   purchase requests to send                     (50000)
  --stock N      units on sale, spread over 20 items            (one for 25 requests)
  --buyers N     buyers who send them                           (a fifth of the requests)
  --seed N       decides who wants what, and who pays           (1)
  --flow F       queue: requests wait in a topic                (queue)
                 bucket: a token bucket before a direct call
  --crash        kill the sale's process with SIGKILL in mid-sale and start it again
  --data DIR     keep the data in DIR, which must be new or empty
  --json         end with one JSON object
  --help         print this

Exit code: 0 when the audit holds, 1 when it does not, 2 for a wrong option.`;

const flags = {
  requests: { type: "string" },
  stock: { type: "string" },
  buyers: { type: "string" },
  seed: { type: "string" },
  flow: { type: "string" },
  data: { type: "string" },
  crash: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean" },
} as const;

/** Throws `UsageError`. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const values = parse(args);
  const requests = integer("requests", values.requests, 1, 10_000_000) ?? 50_000;
  return {
    requests,
    stock: integer("stock", values.stock, 0, 10_000_000) ?? Math.ceil(requests / 25),
    buyers: integer("buyers", values.buyers, 1, 10_000_000) ?? Math.ceil(requests / 5),
    seed: integer("seed", values.seed, 0, 4_294_967_295) ?? 1,
    flow: flow(values.flow ?? "queue"),
    crash: values.crash ?? false,
    json: values.json ?? false,
    help: values.help ?? false,
    directory: directory(values.data),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({ args: [...args], options: flags, strict: true, allowPositionals: false }).values;
  } catch (error) {
    const [firstSentence = "wrong options"] = (error as Error).message.split(/\. |\n/);
    throw new UsageError(firstSentence);
  }
}

function integer(name: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < min || value > max) {
    throw new UsageError(`--${name} takes a whole number from ${min} to ${max}, not '${text}'`);
  }
  return value;
}

function flow(text: string): Flow {
  if (text !== "queue" && text !== "bucket") throw new UsageError(`--flow takes queue or bucket, not '${text}'`);
  return text;
}

function directory(text: string | undefined): string | undefined {
  if (text === "") throw new UsageError("--data takes the name of a directory");
  return text;
}
