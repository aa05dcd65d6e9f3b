import type { Argument, Connection } from "../connection.ts";
import { failureOf } from "../failures.ts";
import { operate } from "./scripts.ts";

/** What one script carries out at most, so that it keeps nobody waiting for long. */
const countMax = 64;

interface Batch {
  readonly keys: string[];
  readonly args: Argument[];
  readonly resolves: ((answer: readonly unknown[] | number) => void)[];
  readonly rejects: ((error: unknown) => void)[];
}

/**
 * Operations on leases that are asked for in the same turn go with one script, in the order of the calls. On a cluster names lie in several slots, and each
 * operation has a script to itself.
 */
export class LeaseOperations {
  readonly #connection: Connection;
  #gathering: Batch | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** The key and the arguments of one operation as `operate.lua` says; answers what that answers for it. */
  run(key: string, args: readonly Argument[]): Promise<readonly unknown[] | number> {
    return new Promise((resolve, reject) => {
      const batch = this.#batch();
      batch.keys.push(key);
      batch.args.push(...args);
      batch.resolves.push(resolve);
      if (batch.rejects.push(reject) >= countMax || this.#connection.isCluster) this.#send();
    });
  }

  #batch(): Batch {
    if (this.#gathering === undefined) {
      this.#gathering = { keys: [], args: [], resolves: [], rejects: [] };
      queueMicrotask(this.#send);
    }
    return this.#gathering;
  }

  readonly #send = (): void => {
    const batch = this.#gathering;
    if (batch === undefined) return;
    this.#gathering = undefined;
    const { keys, args, resolves, rejects } = batch;
    this.#connection.run(operate, keys, args).then(
      (reply) => {
        if (resolves.length === 1) {
          resolves[0]!(reply as readonly unknown[] | number);
          return;
        }
        for (const [index, answer] of (reply as readonly (readonly unknown[] | number)[]).entries()) {
          if (typeof answer !== "number" && answer[0] === -1) rejects[index]!(refused(answer[1]));
          else resolves[index]!(answer);
        }
      },
      (error: unknown) => {
        for (const reject of rejects) reject(error);
      },
    );
  };
}

function refused(message: unknown): unknown {
  return failureOf(new Error(String(message)), operate.name);
}
