import { fork } from "node:child_process";
import { endWithThisProcess } from "./children.ts";

/** One thing done with an engine's directory, in a process of its own whose memory and time are only its own. */
export type EngineStep =
  /** Publishes so many messages and closes. */
  | { readonly name: "publish"; readonly count: number }
  /** Publishes so many messages, says so, and publishes on until it is killed. */
  | { readonly name: "publish-until-killed"; readonly count: number }
  /** Declares so many topics with 8 partitions, puts a message into each, and closes. */
  | { readonly name: "declare-topics"; readonly count: number }
  /** The same, but says so and waits to be killed. */
  | { readonly name: "declare-until-killed"; readonly count: number }
  /** Opens, and closes. */
  | { readonly name: "open" }
  /** Opens, handles and settles so many messages, and closes. */
  | { readonly name: "consume"; readonly count: number };

export interface EngineStepRequest {
  readonly directory: string;
  readonly step: EngineStep;
}

export interface EngineStepResult {
  /** From asking for the engine until it served. */
  readonly openMs: number;
  /** What the step did after that. */
  readonly workMs: number;
  readonly residentBytesMax: number;
  /** File descriptors that opening the engine and the step added; 0 where the system does not tell. */
  readonly descriptors: number;
  /** Topics that the engine knew when it was open. */
  readonly topics: number;
  /** Messages of the topic "backlog" that its group had still to settle then. */
  readonly unsettled: number;
}

export type EngineStepAnswer = EngineStepResult | { readonly error: string };

/** Time for a step that goes on to be in the middle of something. */
const KILLED_AFTER_MS = 300;

/** Runs the step in a child process. A step that goes on until it is killed is killed with SIGKILL a little after it answered. */
export function runEngineStep(request: EngineStepRequest): Promise<EngineStepResult> {
  const execArgv = ["--conditions=source", "--disable-warning=ExperimentalWarning"];
  const child = endWithThisProcess(fork(new URL("./engine-process.ts", import.meta.url), { execArgv }));
  const killed = request.step.name.endsWith("-until-killed");
  return new Promise((resolve, reject) => {
    let answer: EngineStepAnswer | undefined;
    child.on("message", (message: EngineStepAnswer) => {
      answer = message;
      if ("error" in message) child.kill("SIGKILL");
      else if (killed) setTimeout(() => child.kill("SIGKILL"), KILLED_AFTER_MS);
    });
    child.on("exit", (code, signal) => {
      if (answer === undefined) reject(new Error(`"${request.step.name}" ended (${signal ?? `exit code ${code}`})`));
      else if ("error" in answer) reject(new Error(`"${request.step.name}" failed: ${answer.error}`));
      else resolve(answer);
    });
    child.send(request);
  });
}
