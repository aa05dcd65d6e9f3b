import { TenonError } from "../../contracts/errors.ts";
import type { Argument } from "./connection.ts";
import { UnknownScript } from "./failures.ts";
import type { Link, Pending } from "./link.ts";
import type { Script } from "./script.ts";
import type { Session } from "./session.ts";
import { slotOf, slots } from "./slots.ts";

/** A script that is to be run, or is under way. One object for all that is to be known of it: a lock has two of them. */
class Run implements Pending {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly Argument[];
  readonly number: number;
  readonly succeed: (reply: unknown) => void;
  readonly fail: (error: unknown) => void;
  readonly #runner: RunsRuns;
  since = 0;
  /** Refused once, it goes in full. */
  inFull = false;

  constructor(
    runner: RunsRuns,
    number: number,
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    succeed: Run["succeed"],
    fail: Run["fail"],
  ) {
    this.#runner = runner;
    this.number = number;
    this.script = script;
    this.keys = keys;
    this.args = args;
    this.succeed = succeed;
    this.fail = fail;
  }

  get what(): string {
    return this.script.name;
  }

  send(session: Session): Promise<unknown> | undefined {
    return this.#runner.send(this, session);
  }

  resolve(reply: unknown): void {
    this.#runner.carriedOut(this, reply);
  }

  reject(error: unknown): void {
    this.#runner.failed(this, error);
  }
}

interface RunsRuns {
  send(run: Run, session: Session): Promise<unknown> | undefined;
  carriedOut(run: Run, reply: unknown): void;
  failed(run: Run, error: unknown): void;
}

/**
 * Runs scripts by their hash. A server that was restarted, or took over from another, knows none; so each script goes in full once per session, on a cluster
 * once per slot, since only the client knows which node has which. What is refused all the same, after SCRIPT FLUSH or when a slot has moved,
 * must not be sent again at once, or a later call for the same key would overtake it; new ones wait until all that are under way are answered,
 * and then the refused ones go first, in full.
 */
export class ScriptRunner implements RunsRuns {
  readonly #link: Link;
  #number = 0;
  #underWay = 0;
  #refused: Run[] = [];
  #held: Run[] = [];
  /** While runs are refused: the number of the last run that was carried out, by key. */
  readonly #overtook = new Map<string, number>();
  /** The scripts that this session's server was given; on a cluster, for which slots. */
  readonly #known = new Map<string, Uint8Array>();

  constructor(link: Link) {
    this.#link = link;
  }

  /** A new session may be with a server that knows nothing. */
  forget(): void {
    this.#known.clear();
  }

  run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return new Promise((resolve, reject) => this.runFor(script, keys, args, resolve, reject));
  }

  runFor(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    resolve: (reply: unknown) => void,
    reject: (error: unknown) => void,
  ): void {
    const run = new Run(this, ++this.#number, script, keys, args, resolve, reject);
    if (this.#refused.length > 0) this.#held.push(run);
    else this.#tell(run);
  }

  #tell(run: Run): void {
    this.#underWay++;
    this.#link.tell(run);
  }

  send(run: Run, session: Session): Promise<unknown> | undefined {
    const { script, keys, args } = run;
    const slot = session.isCluster ? slotOf(keys[0]!) : 0;
    const given = this.#known.get(script.sha);
    const full = run.inFull || given === undefined || given[slot] === 0;
    // In lower case, which is what ioredis makes of a name each time that it looks at it.
    const name = full ? "eval" : "evalsha";
    const text = full ? script.source : script.sha;
    const reply = session.send(keys[0], [name, text, keys.length, ...keys, ...args]);
    if (full && reply !== undefined) this.#give(script, slot, session.isCluster);
    return reply;
  }

  carriedOut(run: Run, reply: unknown): void {
    if (this.#refused.length > 0) for (const key of run.keys) this.#overtook.set(key, run.number);
    run.succeed(reply);
    this.#answered();
  }

  failed(run: Run, error: unknown): void {
    if (error instanceof UnknownScript && !run.inFull) this.#refuse(run);
    else run.fail(error);
    this.#answered();
  }

  #give(script: Script, slot: number, isCluster: boolean): void {
    let given = this.#known.get(script.sha);
    if (given === undefined) {
      given = new Uint8Array(isCluster ? slots : 1);
      this.#known.set(script.sha, given);
    }
    given[slot] = 1;
  }

  #refuse(run: Run): void {
    this.#known.clear();
    // Replies of one node come in the order of the calls, those of several in any.
    this.#refused.push(run);
  }

  #answered(): void {
    this.#underWay--;
    if (this.#underWay > 0 || this.#refused.length === 0) return;
    const refused = this.#refused.sort((a, b) => a.number - b.number);
    const held = this.#held;
    this.#refused = [];
    this.#held = [];
    for (const run of refused) {
      if (run.keys.every((key) => (this.#overtook.get(key) ?? 0) < run.number)) {
        run.inFull = true;
        this.#tell(run);
      } else run.fail(overtaken(run.script));
    }
    this.#overtook.clear();
    for (const run of held) this.#tell(run);
  }
}

/** Somebody else gave the server the script just between two calls that share a key. */
function overtaken(script: Script): TenonError {
  return new TenonError(
    "unavailable",
    `Redis had forgotten its scripts, and a later call for the same key was carried out before ${script.name}. It was not done; try again.`,
  );
}
