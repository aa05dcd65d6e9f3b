/** Where the servers are that tests, benchmarks and examples use: in the environment, as `npm run engines` wrote it, or at the standard ports. */
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

export const engineNames = [
  "redis",
  "redis-cluster",
  "redis-sentinel",
  "redis-quorum",
  "postgres",
  "mariadb",
  "rabbitmq",
  "nats",
  "etcd",
  "zookeeper",
  "kafka",
] as const;

export type EngineName = (typeof engineNames)[number];

export interface EngineAddress {
  readonly name: EngineName;
  /** The first of `urls`, with user, password and database where the engine has them. */
  readonly url: string;
  /** More than one where the engine is more than one server: cluster nodes, sentinels, independent primaries. */
  readonly urls: readonly string[];
  /** How sentinels call the primary that they watch. */
  readonly primaryName: string;
  /** Where this was found: the name of the variable, the file, or "the standard port". */
  readonly source: string;
}

/** How sentinels call the primary, unless TENON_REDIS_SENTINEL_NAME says otherwise. */
export const primaryNameDefault = "tenon";

interface WellKnown {
  readonly variable: string;
  /** The form of its URLs; `$` stands for host and port. */
  readonly form: string;
  readonly ports: readonly number[];
}

export const wellKnown: Readonly<Record<EngineName, WellKnown>> = {
  redis: { variable: "TENON_REDIS_URL", form: "redis://$", ports: [6379] },
  "redis-cluster": { variable: "TENON_REDIS_CLUSTER", form: "redis://$", ports: [7000, 7001, 7002] },
  "redis-sentinel": { variable: "TENON_REDIS_SENTINEL", form: "redis://$", ports: [26379, 26380, 26381] },
  "redis-quorum": { variable: "TENON_REDIS_QUORUM", form: "redis://$", ports: [6401, 6402, 6403, 6404, 6405] },
  postgres: { variable: "TENON_POSTGRES_URL", form: "postgres://tenon:tenon@$/tenon", ports: [5432] },
  mariadb: { variable: "TENON_MARIADB_URL", form: "mysql://tenon:tenon@$/tenon", ports: [3306] },
  rabbitmq: { variable: "TENON_RABBITMQ_URL", form: "amqp://tenon:tenon@$", ports: [5672] },
  nats: { variable: "TENON_NATS_URL", form: "nats://tenon:tenon@$", ports: [4222] },
  etcd: { variable: "TENON_ETCD_URL", form: "http://$", ports: [2379] },
  zookeeper: { variable: "TENON_ZOOKEEPER_URL", form: "zookeeper://$", ports: [2181] },
  kafka: { variable: "TENON_KAFKA_URL", form: "kafka://$", ports: [9092] },
};

const root = fileURLToPath(new URL("../..", import.meta.url));

type Environment = Readonly<Record<string, string | undefined>>;

/** The folder of what `npm run engines` starts: TENON_ENGINES_DIR, relative to the repository; `.engines` when it is not set. */
export function enginesDirectory(environment: Environment = process.env): string {
  const given = environment.TENON_ENGINES_DIR || ".engines";
  return isAbsolute(given) ? given : join(root, given);
}

export function addressesFile(environment: Environment = process.env): string {
  return join(enginesDirectory(environment), "addresses.json");
}

/** Does not ask whether anything answers there. */
export function engineAddress(name: EngineName, environment: Environment = process.env): EngineAddress {
  const { variable, ports } = wellKnown[name];
  const primaryName = environment.TENON_REDIS_SENTINEL_NAME || primaryNameDefault;
  const given = environment[variable];
  if (given) return addressOf(name, parseUrls(name, given), primaryName, variable);
  const written = readAddresses(addressesFile(environment))[name];
  if (written !== undefined) return addressOf(name, written, primaryName, "npm run engines");
  return addressOf(name, urlsAt(name, ports), primaryName, "the standard port");
}

function addressOf(name: EngineName, urls: readonly string[], primaryName: string, source: string): EngineAddress {
  return { name, url: urls[0]!, urls, primaryName, source };
}

export function urlsAt(name: EngineName, ports: readonly number[]): string[] {
  return ports.map((port) => wellKnown[name].form.replace("$", `127.0.0.1:${port}`));
}

/** A list by commas, of URLs or of `host:port`, which get the engine's form. */
export function parseUrls(name: EngineName, list: string): string[] {
  const { form, variable } = wellKnown[name];
  const urls = list
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "")
    .map((part) => (part.includes("://") ? part : form.replace("$", part)));
  if (urls.length === 0 || !urls.every((url) => URL.canParse(url)))
    throw new Error(`${variable} must be a URL or host:port, or several of them separated by commas.`);
  return urls;
}

export type Addresses = Partial<Record<EngineName, readonly string[]>>;

/** Empty when there is no such file. */
export function readAddresses(file: string): Addresses {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw error;
  }
  const parsed: unknown = JSON.parse(text);
  const addresses: Addresses = {};
  for (const name of engineNames) {
    const urls = (parsed as Record<string, unknown> | null)?.[name];
    if (urls === undefined) continue;
    if (!Array.isArray(urls) || urls.length === 0 || !urls.every((url) => typeof url === "string"))
      throw new Error(`${file} does not hold a list of URLs for ${name}; delete it and run \`npm run engines -- up\`.`);
    addresses[name] = urls;
  }
  return addresses;
}

export function writeAddresses(file: string, addresses: Addresses): void {
  writeWhole(file, `${JSON.stringify(addresses, undefined, 2)}\n`);
}

/** Readers see the former text or the new one, never a part. */
export function writeWhole(file: string, text: string): void {
  const next = `${file}.${process.pid}`;
  writeFileSync(next, text);
  renameSync(next, file);
}
