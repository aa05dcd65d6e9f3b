import { TenonError } from "../../contracts/errors.ts";
import type { Argument } from "./connection.ts";
import { UnknownScript } from "./failures.ts";
import type { Link } from "./link.ts";
import type { Script } from "./script.ts";
import { slotOf, slots } from "./slots.ts";

interface Run {
  readonly script: Script;
  readonly keys: readonly string[];
  readonly args: readonly Argument[];
  readonly number: number;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Runs scripts by their hash. A server that was restarted, or took over from another, knows none; so each script goes in full once per session, on a cluster
 * once per slot, since only the client knows which node has which. What is refused all the same, after SCRIPT FLUSH or when a slot has moved,
 * must not be sent again at once, or a later call for the same key would overtake it; new ones wait until all that are under way are answered,
 * and then the refused ones go first, in full.
 */
export class ScriptRunner {
  readonly #link: Link;
  #number = 0;
  #underWay = 0;
  #refused: Run[] = [];
  #held: Run[] = [];
  /** While runs are refused: the number of the last run that was carried out, by first key. */
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
    resolve: Run["resolve"],
    reject: Run["reject"],
  ): void {
    const run = { script, keys, args, number: ++this.#number, resolve, reject };
    if (this.#refused.length > 0) this.#held.push(run);
    else this.#send(run, false);
  }

  #send(run: Run, inFull: boolean): void {
    const { script, keys, args } = run;
    this.#underWay++;
    this.#link.tell(
      script.name,
      (session) => {
        const slot = session.isCluster ? slotOf(keys[0]!) : 0;
        const given = this.#known.get(script.sha);
        const full = inFull || given === undefined || given[slot] === 0;
        const name = full ? "eval" : "evalsha";
        const text = full ? script.source : script.sha;
        const reply = session.send(keys[0], [name, text, keys.length, ...keys, ...args]);
        if (full && reply !== undefined) this.#give(script, slot, session.isCluster);
        return reply;
      },
      (reply) => {
        if (this.#refused.length > 0) this.#overtook.set(keys[0]!, run.number);
        run.resolve(reply);
        this.#answered();
      },
      (error) => {
        if (error instanceof UnknownScript && !inFull) this.#refuse(run);
        else run.reject(error);
        this.#answered();
      },
    );
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
      if ((this.#overtook.get(run.keys[0]!) ?? 0) < run.number) this.#send(run, true);
      else run.reject(overtaken(run.script));
    }
    this.#overtook.clear();
    for (const run of held) this.#send(run, false);
  }
}

/** Somebody else gave the server the script just between two calls for one key. */
function overtaken(script: Script): TenonError {
  return new TenonError(
    "unavailable",
    `Redis had forgotten its scripts, and a later call for the same key was carried out before ${script.name}. It was not done; try again.`,
  );
}
