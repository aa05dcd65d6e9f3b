/** Where one engine runs: its folder, its ports, its processes. Engines start their servers through it. */
import { execFile, spawn } from "node:child_process";
import { chownSync, closeSync, mkdirSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { EngineName } from "./addresses.ts";
import { identify, isRunning } from "./ownership.ts";
import type { EngineRecord, State } from "./state.ts";
import { systemUser } from "./system-users.ts";

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

  /** Runs a program to its end and answers what it printed. Throws when it fails, with what it said. */
  run({ command, parameters, environment, user }: ServerCommand, timeoutMs = 120_000): Promise<string> {
    const [program, ...rest] = asUser(user, [command, ...parameters]);
    return new Promise((resolve, reject) => {
      const env = { ...process.env, ...environment };
      execFile(program!, rest, { cwd: this.directory, env, timeout: timeoutMs }, (error, output, errors) => {
        if (error === null) return resolve(output);
        const why = error.killed === true ? `took more than ${timeoutMs / 1000} s` : `failed (${error.code})`;
        reject(new Error(`${this.name}: ${command} ${why}: ${lastLines(`${output}\n${errors}`, 20)}`));
      });
    });
  }

  /** Makes everything in the folder a system user's, when we are root and servers run as that user. */
  giveTo(name: string | undefined): void {
    const user = systemUser(name);
    if (user === undefined) return;
    chownSync(this.directory, user.uid, user.gid);
    for (const entry of readdirSync(this.directory)) chownSync(this.path(entry), user.uid, user.gid);
  }

  #tail(server: string): string {
    const file = this.logOf(server);
    try {
      return `\nThe end of ${file}:\n${lastLines(readFileSync(file, "utf8"), 20)}`;
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

function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}
