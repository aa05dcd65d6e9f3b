import { parseArgs } from "node:util";
import type { SaleOptions } from "./model.ts";

export interface CommandLine extends SaleOptions {
  readonly engine: "embedded" | "redis";
  /** URLs of servers; looked for when left out. */
  readonly redis: string | undefined;
  readonly postgres: string | undefined;
  /** Whether each service runs in a process of its own. */
  readonly processes: boolean;
  /** Whether processes of the sale are killed in mid-sale. */
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

A flash sale over real HTTP, and an audit at the end: on the embedded engine with orders in SQLite, or on Redis with orders in PostgreSQL.

  --requests N   purchase requests to send                     (50000)
  --stock N      units on sale, spread over 20 items            (one for 25 requests)
  --buyers N     buyers who send them                           (a fifth of the requests)
  --seed N       decides who wants what, and who pays           (1)
  --flow F       queue: requests wait in a topic                (queue)
                 bucket: a token bucket before a direct call
  --engine E     embedded, or redis                            (embedded)
  --processes    with redis: 2 gateways, 2 stock services and the order service as processes
  --redis URL    the server                                    (where npm run engines starts one)
  --postgres URL with redis: orders in this database           (the same; without one in SQLite)
  --crash        kill with SIGKILL in mid-sale and start again: the sale's process, or one of each kind;
                 without --redis also Redis, which is a server of the run's own then
  --data DIR     keep the data in DIR, which must be new or empty, and on the servers
  --json         end with one JSON object
  --help         print this

Exit code: 0 when the audit holds, 1 when it does not, 2 for a wrong option.`;

const flags = {
  requests: { type: "string" },
  stock: { type: "string" },
  buyers: { type: "string" },
  seed: { type: "string" },
  flow: { type: "string" },
  engine: { type: "string" },
  redis: { type: "string" },
  postgres: { type: "string" },
  data: { type: "string" },
  processes: { type: "boolean" },
  crash: { type: "boolean" },
  json: { type: "boolean" },
  help: { type: "boolean" },
} as const;

/** Throws `UsageError`. */
export function parseCommandLine(args: readonly string[]): CommandLine {
  const values = parse(args);
  const requests = integer("requests", values.requests, 1, 10_000_000) ?? 50_000;
  const engine = oneOf("engine", ["embedded", "redis"], values.engine ?? "embedded");
  const { processes = false } = values;
  if (engine === "embedded") {
    if (processes) throw new UsageError("--processes needs --engine redis; the embedded engine belongs to one process");
    const server = values.redis === undefined ? values.postgres && "postgres" : "redis";
    if (server) throw new UsageError(`--${server} needs --engine redis`);
  }
  return {
    requests,
    stock: integer("stock", values.stock, 0, 10_000_000) ?? Math.ceil(requests / 25),
    buyers: integer("buyers", values.buyers, 1, 10_000_000) ?? Math.ceil(requests / 5),
    seed: integer("seed", values.seed, 0, 4_294_967_295) ?? 1,
    flow: oneOf("flow", ["queue", "bucket"], values.flow ?? "queue"),
    engine,
    redis: serverUrl("redis", ["redis:", "rediss:"], values.redis),
    postgres: serverUrl("postgres", ["postgres:", "postgresql:"], values.postgres),
    processes,
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

function oneOf<Name extends string>(option: string, names: readonly Name[], text: string): Name {
  const name = names.find((each) => each === text);
  if (name === undefined) throw new UsageError(`--${option} takes ${names.join(" or ")}, not '${text}'`);
  return name;
}

/** The URL stays out of the message: it may hold a password. */
function serverUrl(option: string, protocols: readonly string[], text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  if (URL.canParse(text) && protocols.includes(new URL(text).protocol)) return text;
  throw new UsageError(`--${option} takes a URL that begins with ${protocols[0]}//`);
}

function directory(text: string | undefined): string | undefined {
  if (text === "") throw new UsageError("--data takes the name of a directory");
  return text;
}
