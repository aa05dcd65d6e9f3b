/** The processes of a move, which end with the test. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { MoveProgress } from "tenon/moving";
import type { Ledger } from "./ledger.ts";
import type { Report } from "./reports.ts";
import { program } from "./site.ts";

/** What `tenon migrate-topic --json` says of a move that is under way. */
export type MoveLine = MoveProgress & { readonly event: string };

export interface Participant {
  /** What it told first. */
  readonly ready: Report & { readonly did: "ready" };
  /** Asks it to end, and waits until it has. */
  stop(): Promise<void>;
}

export class Processes {
  readonly #ledger: Ledger;
  readonly #children = new Set<ChildProcess>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** Resolves when it is ready. What it tells is written down before it hears that it was. */
  async start(name: string, args: readonly string[], environment: NodeJS.ProcessEnv): Promise<Participant> {
    const child = this.#own(
      fork(program(name), [...args], {
        execArgv: ["--conditions=source"],
        env: environment,
        stdio: ["ignore", "inherit", "inherit", "ipc"],
      }),
    );
    const ready = Promise.withResolvers<Report & { did: "ready" }>();
    const ended = once(child, "exit") as Promise<[code: number | null, signal: string | null]>;
    ended.then(
      ([code, signal]) => ready.reject(new Error(`${name} ended with ${code ?? signal} before it was ready`)),
      ready.reject,
    );
    child.on("message", (message) => {
      const { number, report } = message as { number: number; report: Report };
      this.#ledger.write(report);
      if (report.did === "ready") ready.resolve(report);
      child.send(number);
    });
    return {
      ready: await ready.promise,
      async stop() {
        if (child.connected) child.send("stop");
        const [code, signal] = await ended;
        if (code !== 0) throw new Error(`${name} ${args.join(" ")} ended with ${code ?? signal}`);
      },
    };
  }

  /** Runs the command; `onLine` may kill it. Answers how it ended, and what it said. */
  async migrate(
    args: readonly string[],
    environment: NodeJS.ProcessEnv,
    onLine: (line: MoveLine, kill: (signal: NodeJS.Signals) => void) => void = () => undefined,
  ): Promise<{ readonly code: number | null; readonly lines: readonly MoveLine[]; readonly errors: string }> {
    const modules = ["--from", program("old-engine.ts"), "--to", program("new-engine.ts")];
    const main = program("../../src/cli/main.ts");
    const child = this.#own(
      spawn(process.execPath, ["--conditions=source", main, "migrate-topic", ...args, ...modules, "--json"], {
        env: environment,
        stdio: ["ignore", "pipe", "pipe"],
      }),
    );
    const lines: MoveLine[] = [];
    let errors = "";
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      errors += text;
    });
    createInterface({ input: child.stdout! }).on("line", (text) => {
      const line = JSON.parse(text) as MoveLine;
      lines.push(line);
      onLine(line, (signal) => child.kill(signal));
    });
    const [code] = (await once(child, "close")) as [number | null];
    return { code, lines, errors };
  }

  async kill(): Promise<void> {
    const ends = [...this.#children].map((child) => once(child, "exit"));
    for (const child of this.#children) child.kill("SIGKILL");
    await Promise.all(ends);
  }

  #own<T extends ChildProcess>(child: T): T {
    this.#children.add(child);
    child.once("exit", () => this.#children.delete(child));
    return child;
  }
}
