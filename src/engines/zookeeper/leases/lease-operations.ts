import { TenonError } from "../../../contracts/errors.ts";
import type { World } from "../../../world/world.ts";
import { LeaseState } from "../../shared/leases/lease-state.ts";
import type { ZookeeperConnection } from "../connection.ts";
import { failureOf, isCollision } from "../failures.ts";
import { type Nodes, nothing } from "../nodes.ts";
import type { NodeData, Operation as Part, Stat, ZookeeperAcl } from "../protocol.ts";
import type { ServerClock } from "./server-clock.ts";

/** What is done to a name, on its state as of now. It draws at most one token. */
export type Operation<T> = (state: LeaseState, now: number, token: () => number) => T;

export interface OperationsParts {
  readonly world: World;
  readonly connection: ZookeeperConnection;
  readonly nodes: Nodes;
  readonly clock: ServerClock;
  readonly acls: readonly ZookeeperAcl[];
}

interface Waiting {
  readonly operation: Operation<unknown>;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A name as it was read after a change of the clock's node: what is older than that change is in it. */
export interface Seen {
  /** The leader's clock at that change, and the change's number. */
  readonly now: number;
  readonly change: number;
  readonly bucket: Stat;
  readonly node: NodeData | undefined;
}

const attemptsMax = 50;
const backoffMs = { first: 1, longest: 50 };
const operationsMax = 64;
/** ZooKeeper's own limit, jute.maxbuffer, is 1 MiB less one byte for a request. */
const stateBytesMax = 1_000_000;

/**
 * Operations on leased names, those of one name in the order of the calls. Each name is a node that holds its state; a change takes effect only if nobody has changed the
 * node since it was read.
 */
export class LeaseOperations {
  readonly #parts: OperationsParts;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(parts: OperationsParts) {
    this.#parts = parts;
  }

  run<T>(name: string, operation: Operation<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { operation, resolve: resolve as Waiting["resolve"], reject };
      const queue = this.#queues.get(name);
      if (queue !== undefined) queue.push(waiting);
      else {
        const made = [waiting];
        this.#queues.set(name, made);
        void this.#drain(name, made);
      }
    });
  }

  async #drain(name: string, queue: Waiting[]): Promise<void> {
    // What is asked in the same turn goes together.
    await undefined;
    while (queue.length > 0) {
      const taken = queue.splice(0, operationsMax);
      try {
        const left = await this.#carryOut(name, taken);
        queue.unshift(...left);
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#queues.delete(name);
  }

  /** Answers what is left for the next round: one change has one number, which is the token of one grant. */
  async #carryOut(name: string, taken: readonly Waiting[]): Promise<readonly Waiting[]> {
    const { connection } = this.#parts;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const seen = await this.look(name);
      const state = LeaseState.decode(seen.node?.data ?? nothing);
      const answers = apply(taken, state, seen);
      const bytes = state.encode();
      const before = seen.node?.data ?? nothing;
      const isSame = bytes.equals(before) || (before.length === 0 && state.unused);
      try {
        if (!isSame) {
          if (bytes.length > stateBytesMax) throw tooMany(name, bytes.length);
          const parts = this.#partsOf(name, seen, bytes);
          await connection.run("a change of a lease", "unknown", (session) => session.transact(parts));
        }
        for (const [index, answer] of answers.entries()) taken[index]!.resolve(answer);
        return taken.slice(answers.length);
      } catch (error) {
        if (!isCollision(error)) throw failureOf(error, "a change of a lease", "unknown");
      }
      await this.#pause(attempt);
    }
    const text = `Others changed ${name} each of the ${attemptsMax} times that it was tried; nothing was changed. Try again.`;
    throw new TenonError("overloaded", text, { fields: { name, attempts: attemptsMax } });
  }

  /** Fresh: the server has carried out a change of this session just before it answers. */
  async look(name: string): Promise<Seen> {
    const { connection, nodes, clock } = this.#parts;
    for (;;) {
      const [stamp, bucket, node] = await connection.call("looking at a lease", "not-applied", (session) =>
        // In this order, on one connection.
        Promise.all([
          session.setData(nodes.clock, nothing),
          session.getData(nodes.bucketOf(name)),
          session.getData(nodes.pathOf(name)),
        ]),
      );
      if (bucket === undefined) {
        const text = 'Nodes of this engine are not there. Make them with the option nodes: "make".';
        throw new TenonError("not-found", text);
      }
      const { change, changedAt: now } = stamp;
      clock.met(now);
      // Tokens are numbers of changes and must be greater than all before, so nothing may have been changed behind this one.
      if (bucket.stat.change > change || (node !== undefined && node.stat.change > change)) continue;
      return { now, change, bucket: bucket.stat, node };
    }
  }

  /** The bucket's version changes when a name is removed, so that a name that was removed and made anew is not taken for the former one. */
  #partsOf(name: string, { bucket, node }: Seen, bytes: Buffer): readonly Part[] {
    const { nodes, acls } = this.#parts;
    const path = nodes.pathOf(name);
    return [
      { type: "check", path: nodes.bucketOf(name), version: bucket.version },
      node === undefined
        ? { type: "create", path, data: bytes, acls }
        : { type: "setData", path, data: bytes, version: node.stat.version },
    ];
  }

  async #pause(attempt: number): Promise<void> {
    const { random, timers } = this.#parts.world;
    await timers.sleep(random.float() * Math.min(backoffMs.longest, backoffMs.first * 2 ** attempt));
  }
}

/** Operations up to the first one that has drawn the token. */
function apply(taken: readonly Waiting[], state: LeaseState, { now, change }: Seen): readonly unknown[] {
  const answers: unknown[] = [];
  let isDrawn = false;
  for (const { operation } of taken) {
    const answer = operation(state, now, () => {
      isDrawn = true;
      return change;
    });
    answers.push(answer);
    if (isDrawn) break;
  }
  return answers;
}

function tooMany(name: string, sizeBytes: number): TenonError {
  const text = `${name} has so many holders and requests that ZooKeeper cannot hold them in one node; nothing was changed. Try again later, or split the name.`;
  return new TenonError("overloaded", text, { fields: { name, sizeBytes } });
}
