import { type ChildProcess, fork } from "node:child_process";
import type { RateRule } from "tenon/traffic";
import type { ServerType } from "../examples/flash-sale/sale-servers.ts";
import { endWithThisProcess } from "./children.ts";
import type { Latency, Offered, Paced } from "./load.ts";

/** How much of what was acknowledged is still there after: a crash of the process that stores it; a crash of the machine. */
export type Survives = "nothing" | "process" | "machine";

export const SURVIVES_TEXT: Record<Survives, string> = {
  nothing: "nothing (in memory)",
  process: "process (no fsync per write)",
  machine: "machine (fdatasync)",
};

/** A server that is shared with others: names of what is stored there begin with the prefix, and are removed at the end. */
export interface ServerShare {
  readonly type: ServerType | "etcd" | "zookeeper";
  readonly url: string;
  readonly prefix: string;
}

export interface PeerOptions {
  /** An empty directory of its own, on the same disk for every peer. */
  readonly directory: string;
  readonly survives: Survives;
  /** Where its server listens on loopback. */
  readonly port?: number | undefined;
  readonly server?: ServerShare | undefined;
  /** Takes the time of each call, too, where that is not done anyway. */
  readonly timed?: boolean | undefined;
  readonly encoding?: "bytes" | "json" | undefined;
  /** Publishes with a key per message. */
  readonly keyed?: boolean | undefined;
  readonly limiter?: RateRule["type"] | undefined;
  /** Messages in the backlog that `consume` works off. */
  readonly backlog: number;
}

/** One contestant. Every method leaves the peer as it found it: empty. */
export interface Peer {
  /** Messages stored per second with so many publish calls unanswered. */
  publish?(inFlight: number, durationMs: number): Promise<number | Paced>;
  /** Messages handled and settled per second, so many at once, from the first of a backlog until nothing is unsettled. */
  consume?(concurrency?: number): Promise<number>;
  latency?(offered: Offered, durationMs: number): Promise<Latency>;
  /** Decisions of a limiter per second, over so many keys in turn, with so many unanswered; only where they are answered by a server. */
  decide?(keys: number, durationMs: number, inFlight?: number): Promise<number>;
  /** Locks acquired and released per second. */
  lock?(contention: Contention, durationMs: number): Promise<number | Paced>;
  close(): Promise<void>;
}

/** So many callers at once, each with a lock of its own, or all with the same. */
export interface Contention {
  readonly callers: number;
  /**
   * `"own"`: each acquires and releases its own again and again. `"shared, in turns"`: again only when every other one had it too. `"shared, at will"`: again at
   * once, also by passing others by.
   */
  readonly locks: "own" | "shared, in turns" | "shared, at will";
}

/** What a module in `peers/` exports. */
export interface PeerModule {
  start(options: PeerOptions): Promise<Peer>;
}

export interface PeerSpecification {
  readonly name: string;
  readonly module: string;
  readonly options: PeerOptions;
}

export type PeerCall =
  | { readonly method: "publish"; readonly inFlight: number; readonly durationMs: number }
  | { readonly method: "consume"; readonly concurrency?: number }
  | { readonly method: "latency"; readonly offered: Offered; readonly durationMs: number }
  | { readonly method: "decide"; readonly keys: number; readonly durationMs: number; readonly inFlight?: number }
  | { readonly method: "lock"; readonly contention: Contention; readonly durationMs: number };

export type PeerRequest =
  | { readonly start: PeerSpecification }
  | { readonly call: PeerCall }
  | { readonly close: true };
/** What a measurement comes to. */
export type Figure = number | Latency | Paced;
export type PeerAnswer = { readonly result: Figure | undefined } | { readonly error: string };

/** A peer in a process of its own, so that no peer's compiled code or garbage is another one's. */
export class PeerProcess {
  readonly specification: PeerSpecification;
  readonly #child: ChildProcess;

  private constructor(specification: PeerSpecification, child: ChildProcess) {
    this.specification = specification;
    this.#child = child;
  }

  static async start(specification: PeerSpecification): Promise<PeerProcess> {
    const execArgv = ["--conditions=source", "--expose-gc", "--disable-warning=ExperimentalWarning"];
    const child = endWithThisProcess(fork(new URL("./peer-process.ts", import.meta.url), { execArgv }));
    const peer = new PeerProcess(specification, child);
    try {
      await peer.#ask({ start: specification });
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    }
    return peer;
  }

  async call(call: PeerCall): Promise<Figure | undefined> {
    return this.#ask({ call });
  }

  async close(): Promise<void> {
    try {
      if (this.#child.connected) await this.#ask({ close: true });
    } finally {
      this.#child.kill("SIGKILL");
    }
  }

  /** One request at a time. */
  #ask(request: PeerRequest): Promise<Figure | undefined> {
    const child = this.#child;
    const { name } = this.specification;
    return new Promise((resolve, reject) => {
      const finish = (settle: () => void) => {
        child.off("message", onMessage);
        child.off("exit", onExit);
        settle();
      };
      const onMessage = (answer: PeerAnswer) => {
        finish(() => ("error" in answer ? reject(new Error(answer.error)) : resolve(answer.result)));
      };
      const onExit = (code: number | null, signal: string | null) => {
        finish(() => reject(new Error(`the process of ${name} ended (${signal ?? `exit code ${code}`})`)));
      };
      child.on("message", onMessage);
      child.on("exit", onExit);
      child.send(request, (error) => {
        if (error !== null) finish(() => reject(error));
      });
    });
  }
}
