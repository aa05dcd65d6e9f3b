import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type ChildMessage, ScenarioError, type SeedFailure, type SeedJob, type SeedOutcome } from "./seed-job.ts";

/** Where child processes find what they run. */
export interface SeedHost {
  /** A directory's address, with a slash at its end; each file in it is a scenario. */
  readonly scenarios: URL;
  /** Modules that are loaded before everything else. */
  readonly preloads: readonly URL[];
  readonly environment: Readonly<Record<string, string>>;
}

export const ownHost: SeedHost = {
  scenarios: new URL("../../test/simulation/scenarios/", import.meta.url),
  preloads: [],
  environment: {},
};

const OUTPUT_KEPT = 4_000;
/** How long a new child may need until it is heard of, on a machine that is busy. */
const STARTING_MS = 60_000;

/**
 * Runs seeds in a child process, one at a time. A child that falls silent is ended, one that dies is a failure of its seed; the next seed
 * gets a new one.
 */
export class SeedWorker {
  readonly #host: SeedHost;
  readonly #silenceMs: number;
  readonly #echo: boolean;
  #child: ChildProcess | undefined;
  #output = "";

  /** `echo`: what a seed prints is printed. Otherwise its end is kept for the report of a child that died. */
  constructor(host: SeedHost, silenceMs: number, echo = false) {
    this.#host = host;
    this.#silenceMs = silenceMs;
    this.#echo = echo;
  }

  /** The child's id, while there is one. */
  get processId(): number | undefined {
    return this.#child?.pid;
  }

  /** Rejects with a `ScenarioError` when the scenario cannot be loaded. */
  async run(job: SeedJob): Promise<SeedOutcome> {
    const isNew = this.#child?.connected !== true;
    const child = this.#living();
    this.#output = "";
    return new Promise((resolve, reject) => {
      const unhear = () => {
        clearTimeout(silence);
        child.off("message", hear).off("close", died);
      };
      const end = (outcome: SeedOutcome) => {
        unhear();
        resolve(outcome);
      };
      const hear = (message: ChildMessage) => {
        clearTimeout(silence);
        silence = setTimeout(fellSilent, this.#silenceMs);
        if (message.type === "done") end(message.outcome);
        if (message.type === "not loaded") {
          unhear();
          reject(new ScenarioError(`scenario ${job.scenario}: ${message.error}`));
        }
      };
      const died = (code: number | null, signal: NodeJS.Signals | null) => {
        this.#child = undefined;
        const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
        end(
          failed(job, {
            kind: "died",
            rule: `the process that ran the seed ended in the middle of it, ${how}`,
            lastEvents: [],
            details: this.#output,
          }),
        );
      };
      const fellSilent = () => {
        this.close();
        const seconds = this.#silenceMs / 1_000;
        end(
          failed(job, {
            kind: "silent",
            rule: `no event happened for ${seconds} s of real time: something loops, and its process was ended`,
            lastEvents: [],
            details: this.#output,
          }),
        );
      };
      let silence = setTimeout(fellSilent, isNew ? Math.max(this.#silenceMs, STARTING_MS) : this.#silenceMs);
      child.on("message", hear).on("close", died);
      child.send(job, (error) => {
        // Its end is told by `close`.
        if (error !== null) child.kill("SIGKILL");
      });
    });
  }

  /** Ends the child at once. Another `run` starts another one. */
  close(): void {
    this.#child?.kill("SIGKILL");
    this.#child = undefined;
  }

  #living(): ChildProcess {
    if (this.#child?.connected) return this.#child;
    const { scenarios, preloads, environment } = this.#host;
    const child = fork(fileURLToPath(new URL("child.ts", import.meta.url)), [scenarios.href], {
      execArgv: ["--conditions=source", ...preloads.map((preload) => `--import=${preload.href}`)],
      env: { ...process.env, ...environment },
      stdio: ["ignore", "pipe", "pipe", "ipc"],
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        if (this.#echo) process.stderr.write(text);
        this.#output = (this.#output + text).slice(-OUTPUT_KEPT);
      });
    }
    this.#child = child;
    return child;
  }
}

function failed(job: SeedJob, failure: SeedFailure): SeedOutcome {
  return { job, failure, hash: "", events: 0, virtualMs: 0, planned: 0, faults: [] };
}
