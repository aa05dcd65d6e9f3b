import { TenonError } from "../../../contracts/errors.ts";
import type { ZookeeperConnection } from "../connection.ts";
import { type Nodes, nothing } from "../nodes.ts";
import type { NodeData, Operation as Part, ZookeeperAcl } from "../protocol.ts";
import type { ZookeeperSession } from "../session.ts";
import type { KnownName } from "./known-names.ts";
import { stateOf } from "./name-record.ts";
import type { ServerClock } from "./server-clock.ts";
import type { Change } from "./steps.ts";

export interface NameNodesParts {
  readonly connection: ZookeeperConnection;
  readonly nodes: Nodes;
  readonly clock: ServerClock;
  readonly acls: readonly ZookeeperAcl[];
}

/** A name as it is, and what time it was then. */
export interface Seen {
  readonly known: KnownName;
  readonly now: number;
}

/** The nodes of leased names, read and written. */
export class NameNodes {
  readonly #parts: NameNodesParts;

  constructor(parts: NameNodesParts) {
    this.#parts = parts;
  }

  /** To base a change on it, which is carried out only if nothing has changed since. */
  read(name: string): Promise<KnownName> {
    return this.#read(name, (session) => session.sync(this.#parts.nodes.bucketOf(name)));
  }

  /** The same when others always came first: every change under way of names beside this one and of itself is refused, so that this process is first for once. */
  async interrupt(name: string): Promise<KnownName> {
    return this.#read(name, (session) => session.setData(this.#parts.nodes.bucketOf(name), nothing));
  }

  /** To decide on it, with the time: the server carries out a change of this session just before. */
  async look(name: string): Promise<Seen> {
    const { nodes, clock } = this.#parts;
    let stampedAt = 0;
    const known = await this.#read(name, async (session) => {
      stampedAt = (await session.setData(nodes.clock, nothing)).changedAt;
    });
    clock.met(stampedAt);
    return { known, now: Math.max(stampedAt, known.changedAt) };
  }

  /** `first` goes ahead on the same connection. */
  async #read(name: string, first: (session: ZookeeperSession) => Promise<unknown>): Promise<KnownName> {
    const { connection, nodes } = this.#parts;
    const [, bucket, node] = await connection.call("looking at a lease", "not-applied", (session) =>
      Promise.all([first(session), session.getData(nodes.bucketOf(name)), session.getData(nodes.pathOf(name))]),
    );
    if (bucket === undefined) {
      const text = 'Nodes of this engine are not there. Make them with the option nodes: "make".';
      throw new TenonError("not-found", text);
    }
    return knownOf(bucket.stat.version, node);
  }

  /** All or nothing, and only if the name is as it is known. Rejects with what the server answered. */
  async write(
    name: string,
    { bucketVersion, version }: KnownName,
    data: Buffer,
  ): Promise<Change & { version: number }> {
    const { connection, nodes, acls, clock } = this.#parts;
    const path = nodes.pathOf(name);
    // A creation does not say when it was made, a change does.
    const creation: readonly Part[] = version === undefined ? [{ type: "create", path, data: nothing, acls }] : [];
    const parts: readonly Part[] = [
      // A name that was removed and made anew may have the same version again; this one then has not.
      { type: "check", path: nodes.bucketOf(name), version: bucketVersion },
      ...creation,
      { type: "setData", path, data, version: version ?? 0 },
    ];
    const [written] = await connection.run("a change of a lease", "unknown", (session) => session.transact(parts));
    clock.met(written!.changedAt);
    return written!;
  }
}

function knownOf(bucketVersion: number, node: NodeData | undefined): KnownName {
  const state = node === undefined ? nothing : stateOf(node).encode();
  const { version, change = 0, changedAt = 0 } = node?.stat ?? {};
  return { bucketVersion, version, change, changedAt, state };
}
