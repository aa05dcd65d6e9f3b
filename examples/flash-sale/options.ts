import { parseArgs } from "node:util";
import type { SaleOptions } from "./model.ts";
import { keyValueTypes, type ServerType, saleServers, serverTypes } from "./sale-servers.ts";

export interface CommandLine extends SaleOptions {
  readonly engine: "embedded" | ServerType;
  /** The server for key-values; the engine's own when left out. */
  readonly keyValue: ServerType | undefined;
  /** Of servers; those that are left out are looked for. */
  readonly urls: Readonly<Partial<Record<ServerType, string>>>;
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

A flash sale over real HTTP, and an audit at the end: on the embedded engine with orders in SQLite, or on a server with orders in PostgreSQL.

  --requests N   purchase requests to send                     (50000)
  --stock N      units on sale, spread over 20 items            (one for 25 requests)
  --buyers N     buyers who send them                           (a fifth of the requests)
  --seed N       decides who wants what, and who pays           (1)
  --flow F       queue: requests wait in a topic                (queue)
                 bucket: a token bucket before a direct call
  --engine E     embedded, or a server: ${serverTypes.join(", ")}    (embedded)
  --key-value S  with a server: stock and requests on ${keyValueTypes.join(" or ")}   (the engine's; redis where it has none)
  --processes    with a server: 2 gateways, 2 stock services and the order service as processes
  --redis URL, --postgres URL, …: where a server is       (where npm run engines starts one);
                 orders are in PostgreSQL if there is one, else in SQLite
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
  "key-value": { type: "string" },
  ...(Object.fromEntries(serverTypes.map((type) => [type, { type: "string" }])) as Record<
    ServerType,
    { readonly type: "string" }
  >),
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
  const engine = oneOf("engine", ["embedded", ...serverTypes], values.engine ?? "embedded");
  const { processes = false } = values;
  const keyValue = keyValueOf(engine, values["key-value"]);
  if (engine === "embedded" && processes) {
    throw new UsageError("--processes needs a server, as --engine redis; the embedded engine belongs to one process");
  }
  return {
    requests,
    stock: integer("stock", values.stock, 0, 10_000_000) ?? Math.ceil(requests / 25),
    buyers: integer("buyers", values.buyers, 1, 10_000_000) ?? Math.ceil(requests / 5),
    seed: integer("seed", values.seed, 0, 4_294_967_295) ?? 1,
    flow: oneOf("flow", ["queue", "bucket"], values.flow ?? "queue"),
    engine,
    keyValue,
    urls: urlsOf(engine, keyValue, values),
    processes,
    crash: values.crash ?? false,
    json: values.json ?? false,
    help: values.help ?? false,
    directory: directory(values.data),
  };
}

/** What is asked for, or what it takes when nothing is. */
export function keyValueOf(engine: "embedded" | ServerType, text: string | undefined): ServerType | undefined {
  if (text === undefined) return engine === "embedded" || saleServers[engine].keyValue ? undefined : "redis";
  if (engine === "embedded") throw new UsageError("--key-value needs a server, as --engine redis");
  return oneOf("key-value", keyValueTypes, text);
}

/** Orders may be in PostgreSQL whatever the engine's server is. */
function urlsOf(
  engine: "embedded" | ServerType,
  keyValue: ServerType | undefined,
  values: Readonly<Partial<Record<ServerType, string>>>,
): CommandLine["urls"] {
  const urls: Partial<Record<ServerType, string>> = {};
  for (const type of serverTypes) {
    const url = serverUrl(type, saleServers[type].protocols, values[type]);
    if (url === undefined) continue;
    const isUsed = type === engine || type === keyValue || (type === "postgres" && engine !== "embedded");
    if (!isUsed) throw new UsageError(`--${type} needs --engine ${type}`);
    urls[type] = url;
  }
  return urls;
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
