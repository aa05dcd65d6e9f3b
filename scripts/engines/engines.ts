/** Starts and stops engines, and remembers what it started. */
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readdirSync, rmdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type EngineAddress,
  type EngineName,
  primaryNameDefault,
  readAddresses,
  urlsAt,
  writeAddresses,
} from "./addresses.ts";
import type { Engine } from "./engine.ts";
import { isRunning, type OwnedProcess } from "./ownership.ts";
import { extendPath, install } from "./packages.ts";
import { choosePort, isPortFree } from "./ports.ts";
import { probe } from "./probes.ts";
import { Site } from "./site.ts";
import type { EngineRecord, State } from "./state.ts";
import { systemUser } from "./system-users.ts";

export interface Workshop {
  readonly directory: string;
  readonly state: State;
  readonly say: (line: string) => void;
}

const startsAtATime = 2;
const stopMs = 20_000;

/** Every engine serves when it resolves. Those that cannot be started do not keep the others from it, and are in the error. */
export async function up(engines: readonly Engine[], { directory, state, say }: Workshop): Promise<void> {
  extendPath();
  await install(
    engines.flatMap((engine) => engine.packages),
    say,
  );
  const sites = new Map<Engine, Site>();
  for (const engine of engines) sites.set(engine, await prepare(engine, directory, state));
  const waiting = [...engines];
  const failures: Error[] = [];
  const work = async (): Promise<void> => {
    for (let engine = waiting.shift(); engine !== undefined; engine = waiting.shift()) {
      const began = performance.now();
      try {
        await engine.start(sites.get(engine)!);
        publish(engine, directory, state);
        say(
          `${engine.name} serves at ${urlsOf(engine, state).join(", ")} (${Math.round(performance.now() - began)} ms)`,
        );
      } catch (error) {
        failures.push(error as Error);
        say(`${engine.name} failed`);
      }
    }
  };
  await Promise.all(Array.from({ length: startsAtATime }, work));
  if (failures.length > 0) throw new Error(failures.map((error) => error.message).join("\n"));
}

/** Ends the processes that `up` started, and no others. */
export async function down(
  engines: readonly Engine[],
  { directory, state, say }: Workshop,
  options: { readonly clean: boolean },
): Promise<void> {
  for (const engine of engines) {
    const record = state.get(engine.name);
    if (record === undefined) continue;
    const running = Object.entries(record.processes).filter(([, owned]) => isRunning(owned));
    // Those that were started last depend on the others.
    for (const [, owned] of running.reverse()) await stop(owned, engine.stopSignal ?? "SIGTERM");
    for (const server of Object.keys(record.processes)) delete record.processes[server];
    state.save();
    unpublish(engine.name, directory);
    if (options.clean) {
      rmSync(record.directory, { recursive: true, force: true });
      removeIfEmpty(dirname(record.directory));
      state.set(engine.name, undefined);
    }
    if (running.length > 0) say(`${engine.name} is down`);
  }
}

export interface EngineStatus {
  readonly name: EngineName;
  readonly version: string;
  /** `"failing"`: some of its processes have ended, or it does not answer. */
  readonly state: "up" | "down" | "failing";
  readonly urls: readonly string[];
  readonly processes: readonly number[];
}

export async function statusOf(engine: Engine, state: State): Promise<EngineStatus> {
  const all = Object.values(state.get(engine.name)?.processes ?? {});
  const processes = all.filter((owned) => isRunning(owned)).map((owned) => owned.pid);
  const { name, version } = engine;
  if (processes.length === 0) return { name, version, state: "down", urls: [], processes };
  const urls = urlsOf(engine, state);
  const serves = processes.length === all.length && (await answers({ name, url: urls[0]!, urls }));
  return { name, version, state: serves ? "up" : "failing", urls, processes };
}

async function answers(address: Pick<EngineAddress, "name" | "url" | "urls">): Promise<boolean> {
  try {
    await probe({ ...address, primaryName: primaryNameDefault, source: "state" });
    return true;
  } catch {
    return false;
  }
}

async function prepare(engine: Engine, directory: string, state: State): Promise<Site> {
  const former = state.get(engine.name);
  const user = systemUser(engine.user);
  const record: EngineRecord = former ?? {
    directory: join(dataRoot(directory, user !== undefined), engine.name),
    ports: {},
    processes: {},
  };
  const someRun = Object.values(record.processes).some((owned) => isRunning(owned));
  const taken = state.portsInUse();
  for (const [name, preferred] of Object.entries(engine.ports)) {
    const current = record.ports[name];
    // A running server keeps its port, and so does one that can have its former port again.
    if (current !== undefined && (someRun || (await isPortFree(current)))) continue;
    const port = await choosePort(preferred, taken);
    taken.add(port);
    record.ports[name] = port;
  }
  state.set(engine.name, record);
  const site = new Site(engine.name, record, state);
  site.giveTo(engine.user);
  return site;
}

/** Below `directory`; in the system's temporary folder when servers that run as other users could not get there. */
function dataRoot(directory: string, forOtherUsers: boolean): string {
  if (!forOtherUsers || isReachable(directory)) return join(directory, "data");
  const name = createHash("sha256").update(directory).digest("hex").slice(0, 12);
  const root = join(tmpdir(), `tenon-engines-${name}`);
  mkdirSync(root, { recursive: true, mode: 0o755 });
  const found = lstatSync(root);
  if (!found.isDirectory() || found.uid !== process.getuid?.())
    throw new Error(`${root} is somebody else's; remove it.`);
  return root;
}

function isReachable(directory: string): boolean {
  for (let path = directory; ; path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false;
    if (path === dirname(path)) return true;
  }
}

function removeIfEmpty(directory: string): void {
  if (existsSync(directory) && readdirSync(directory).length === 0) rmdirSync(directory);
}

async function stop(owned: OwnedProcess, signal: NodeJS.Signals): Promise<void> {
  send(owned.pid, signal);
  const end = performance.now() + stopMs;
  while (isRunning(owned) && performance.now() < end) await sleep(20);
  // It was made the leader of a group, so this reaches what it may have started, too.
  if (isRunning(owned)) send(-owned.pid, "SIGKILL");
  while (isRunning(owned)) await sleep(20);
}

function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It ended in between.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function urlsOf(engine: Engine, state: State): string[] {
  const ports = state.get(engine.name)?.ports ?? {};
  return urlsAt(
    engine.name,
    engine.published.map((port) => ports[port]!),
  );
}

function publish(engine: Engine, directory: string, state: State): void {
  const file = join(directory, "addresses.json");
  writeAddresses(file, { ...readAddresses(file), [engine.name]: urlsOf(engine, state) });
}

function unpublish(name: EngineName, directory: string): void {
  const file = join(directory, "addresses.json");
  const { [name]: removed, ...others } = readAddresses(file);
  if (removed !== undefined) writeAddresses(file, others);
}
