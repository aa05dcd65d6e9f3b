/** Where one engine runs: its folder, its ports, its processes. Engines start their servers through it. */
import { spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { EngineName } from "./addresses.ts";
import { identify, isRunning } from "./ownership.ts";
import type { EngineRecord, State } from "./state.ts";

export interface ServerCommand {
  readonly command: string;
  readonly parameters: readonly string[];
  readonly environment?: Readonly<Record<string, string>> | undefined;
  /** The system user that it runs as when we are root. */
  readonly user?: string | undefined;
  readonly workingDirectory?: string | undefined;
}

export class Site {
  readonly name: EngineName;
  readonly directory: string;
  readonly #record: EngineRecord;
  readonly #state: State;

  constructor(name: EngineName, record: EngineRecord, state: State) {
    this.name = name;
    this.directory = record.directory;
    this.#record = record;
    this.#state = state;
    mkdirSync(record.directory, { recursive: true });
  }

  port(name: string): number {
    const port = this.#record.ports[name];
    if (port === undefined) throw new Error(`${this.name} has no port ${name}.`);
    return port;
  }

  path(...parts: readonly string[]): string {
    return join(this.directory, ...parts);
  }

  logOf(server: string): string {
    return this.path(`${server}.log`);
  }

  runs(server: string): boolean {
    const owned = this.#record.processes[server];
    return owned !== undefined && isRunning(owned);
  }

  /** Starts the server unless it runs already. It lives on when this process ends. */
  start(server: string, { command, parameters, environment, user, workingDirectory }: ServerCommand): void {
    if (this.runs(server)) return;
    const [program, ...rest] = asUser(user, [command, ...parameters]);
    const log = openSync(this.logOf(server), "w");
    try {
      const child = spawn(program!, rest, {
        cwd: workingDirectory ?? this.directory,
        detached: true,
        env: { ...process.env, ...environment },
        stdio: ["ignore", log, log],
      });
      child.on("error", () => {});
      if (child.pid === undefined) throw new Error(`${program} could not be started. Is it installed?`);
      const owned = identify(child.pid);
      if (owned === undefined) throw new Error(`${server} ended at once.${this.#tail(server)}`);
      this.#record.processes[server] = owned;
      this.#state.save();
      child.unref();
    } finally {
      closeSync(log);
    }
  }

  /** Asks until `ask` resolves; what it last threw is in the error when the time is over or the server has ended. */
  async untilReady<T>(server: string, ask: () => Promise<T>, timeoutMs: number): Promise<T> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        const ended = !this.runs(server);
        if (ended || performance.now() >= end) {
          const what = ended ? "ended" : `did not get ready within ${timeoutMs / 1000} s`;
          const message = error instanceof Error ? error.message : String(error);
          throw new Error(`${this.name}: ${server} ${what} (${message}).${this.#tail(server)}`, { cause: error });
        }
      }
      await sleep(50);
    }
  }

  #tail(server: string): string {
    const file = this.logOf(server);
    try {
      const lines = readFileSync(file, "utf8").trimEnd().split("\n").slice(-20);
      return `\nThe end of ${file}:\n${lines.map((line) => `  ${line}`).join("\n")}`;
    } catch {
      return "";
    }
  }
}

/** The command as it has to be started to run as that user: several servers refuse to run as root. */
export function asUser(
  user: string | undefined,
  command: readonly string[],
  isRoot = process.getuid?.() === 0,
): readonly string[] {
  if (user === undefined || !isRoot) return command;
  // It replaces itself by the command, so that the process' id is the server's.
  return ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--init-groups", "--", ...command];
}
