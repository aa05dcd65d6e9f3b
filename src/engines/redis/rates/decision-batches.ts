import type { RateDecision, RateRule } from "../../../contracts/rates.ts";
import type { Argument, Connection } from "../connection.ts";
import type { Script } from "../script.ts";

/** What one script decides at most, so that it keeps nobody waiting for long. */
const countMax = 128;

export interface RuleScript {
  readonly script: Script;
  /** The rule's figures, in the order in which the script lists them. */
  readonly figures: readonly Argument[];
  /** How many items one decision takes in the script's answer. */
  readonly answerItems: number;
}

/** What is asked under one rule within one turn. */
interface Batch {
  readonly keys: string[];
  readonly counts: number[];
  readonly resolves: ((decision: RateDecision) => void)[];
  readonly rejects: ((error: unknown) => void)[];
}

/**
 * Decisions that are asked for in the same turn under the same rule go with one script, in the order of the calls. On a cluster keys lie in several slots,
 * and each has a script to itself.
 */
export class DecisionBatches {
  readonly #connection: Connection;
  readonly #scriptOf: (rule: RateRule) => RuleScript;
  readonly #gathering = new Map<RateRule, Batch>();

  constructor(connection: Connection, scriptOf: (rule: RateRule) => RuleScript) {
    this.#connection = connection;
    this.#scriptOf = scriptOf;
  }

  decide(key: string, rule: RateRule, count: number): Promise<RateDecision> {
    return new Promise((resolve, reject) => {
      const { keys, counts, resolves, rejects } = this.#batchOf(rule);
      counts.push(count);
      resolves.push(resolve);
      rejects.push(reject);
      if (keys.push(key) >= countMax || this.#connection.isCluster) this.#send(rule);
    });
  }

  #batchOf(rule: RateRule): Batch {
    let batch = this.#gathering.get(rule);
    if (batch === undefined) {
      batch = { keys: [], counts: [], resolves: [], rejects: [] };
      if (this.#gathering.size === 0) queueMicrotask(this.#sendAll);
      this.#gathering.set(rule, batch);
    }
    return batch;
  }

  readonly #sendAll = (): void => {
    for (const rule of this.#gathering.keys()) this.#send(rule);
  };

  #send(rule: RateRule): void {
    const { keys, counts, resolves, rejects } = this.#gathering.get(rule)!;
    this.#gathering.delete(rule);
    const { script, figures, answerItems } = this.#scriptOf(rule);
    const [first] = counts;
    const args = counts.every((count) => count === first) ? [...figures, first!] : [...figures, ...counts];
    this.#connection.run(script, keys, args).then(
      (reply) => {
        const answers = reply as readonly (number | Buffer)[];
        for (let index = 0; index < resolves.length; index++) {
          resolves[index]!(decisionOf(answers, index * answerItems, answerItems));
        }
      },
      (error: unknown) => {
        for (const reject of rejects) reject(error);
      },
    );
  }
}

/** As `decision.part.lua` says. */
export function decisionOf(answers: readonly (number | Buffer)[], at: number, items: number): RateDecision {
  return {
    allowed: answers[at] === 1,
    retryAfterMs: answers[at + 1] as number,
    remaining: answers[at + 2] as number,
    delayMs: items > 3 ? Number((answers[at + 3] as Buffer).toString("latin1")) : 0,
  };
}
