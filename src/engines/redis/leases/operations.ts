import type { Argument, DirectConnection } from "../connection.ts";
import { failureOf } from "../failures.ts";
import { operate } from "./scripts.ts";

/**
 * What one script carries out at most. The server works on the first ones while the process still asks for the others: 64 callers with a lock each had 54,000 locks per second with
 * all in one script, and 70,000 so (measured). It also keeps nobody waiting for long.
 */
const countMax = 16;

export type OperationAnswer = readonly unknown[] | number;

interface Operation {
  readonly key: string;
  readonly args: readonly Argument[];
  readonly resolve: (answer: OperationAnswer) => void;
  readonly reject: (error: unknown) => void;
}

const thisTurn = Promise.resolve();

/**
 * Operations on leases that are asked for in the same turn go with one script, in the order of the calls. One that is asked for while none is under way goes at
 * once: nothing would come of waiting for others. On a cluster names lie in several slots, and each operation has a script to itself.
 */
export class LeaseOperations {
  readonly #connection: DirectConnection;
  #gathered: Operation[] = [];
  #scriptsUnderWay = 0;

  constructor(connection: DirectConnection) {
    this.#connection = connection;
  }

  /** The key and the arguments of one operation as `operate.lua` says; answers what that answers for it. */
  run(key: string, args: readonly Argument[]): Promise<OperationAnswer> {
    return new Promise((resolve, reject) => {
      const count = this.#gathered.push({ key, args, resolve, reject });
      if (this.#connection.isCluster || this.#scriptsUnderWay === 0) this.#send();
      else if (count >= countMax) {
        this.#send();
        this.#connection.flush();
      } else if (count === 1) void thisTurn.then(this.#send);
    });
  }

  readonly #send = (): void => {
    const operations = this.#gathered;
    if (operations.length === 0) return;
    this.#gathered = [];
    if (operations.length === 1) this.#sendAlone(operations[0]!);
    else this.#sendTogether(operations);
  };

  #sendAlone({ key, args, resolve, reject }: Operation): void {
    this.#run([key], args, (answer) => resolve(answer as OperationAnswer), reject);
  }

  #sendTogether(operations: readonly Operation[]): void {
    const keys = operations.map(({ key }) => key);
    const args = operations.flatMap((operation) => operation.args);
    this.#run(
      keys,
      args,
      (answers) => {
        for (const [index, answer] of (answers as readonly OperationAnswer[]).entries()) {
          const { resolve, reject } = operations[index]!;
          if (typeof answer !== "number" && answer[0] === -1) reject(refused(answer[1]));
          else resolve(answer);
        }
      },
      (error) => {
        for (const { reject } of operations) reject(error);
      },
    );
  }

  #run(
    keys: readonly string[],
    args: readonly Argument[],
    answered: (reply: unknown) => void,
    failed: (error: unknown) => void,
  ): void {
    this.#scriptsUnderWay++;
    this.#connection.runFor(
      operate,
      keys,
      args,
      (reply) => {
        this.#scriptsUnderWay--;
        answered(reply);
      },
      (error) => {
        this.#scriptsUnderWay--;
        failed(error);
      },
    );
  }
}

function refused(message: unknown): unknown {
  return failureOf(new Error(String(message)), operate.name);
}
