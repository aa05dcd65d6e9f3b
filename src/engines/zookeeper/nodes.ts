import { TenonError } from "../../contracts/errors.ts";
import type { ZookeeperConnection } from "./connection.ts";
import { failureOf, isCollision, isNodeExists } from "./failures.ts";
import type { ZookeeperAcl } from "./protocol.ts";

export const nothing = Buffer.alloc(0);

/** Names are spread over so many nodes, as a node's children should not be too many. */
const bucketsCount = 64;
const format = "tenon 2";
/** What is stored under it is read as well: names held their state alone. */
const formerFormat = "tenon 1";

/** Where everything is. */
export class Nodes {
  readonly root: string;
  readonly clock: string;
  readonly #format: string;
  readonly buckets: readonly string[];

  constructor(root: string) {
    this.root = root;
    this.clock = `${root}/clock`;
    this.#format = `${root}/format`;
    this.buckets = Array.from({ length: bucketsCount }, (_, index) => `${root}/leases-${index}`);
  }

  bucketOf(name: string): string {
    let hash = 0x811c9dc5;
    for (const byte of Buffer.from(name)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
    return this.buckets[hash % bucketsCount]!;
  }

  pathOf(name: string): string {
    return `${this.bucketOf(name)}/${Buffer.from(name).toString("base64url")}`;
  }

  /** Makes those that are missing; engines that start together make them once. */
  async make(connection: ZookeeperConnection, acls: readonly ZookeeperAcl[]): Promise<void> {
    const parts = this.root.split("/").slice(1);
    const parents = parts.map((_, index) => `/${parts.slice(0, index + 1).join("/")}`);
    const make = async (path: string, data: Buffer) => {
      try {
        await connection.run("making nodes", "unknown", (session) => session.create(path, data, acls));
      } catch (error) {
        if (!isNodeExists(error)) throw failureOf(error, "making nodes", "unknown");
      }
    };
    for (const path of parents) await make(path, nothing);
    await Promise.all([this.clock, ...this.buckets].map((path) => make(path, nothing)));
    await make(this.#format, Buffer.from(format));
  }

  /** That they are there, and this version's; those of the former one become so, as former engines could not read what this one writes. */
  async check(connection: ZookeeperConnection): Promise<void> {
    const node = await connection.call("reading the nodes' version", "not-applied", (session) =>
      session.getData(this.#format),
    );
    if (node === undefined) {
      const text = `The nodes under ${this.root} are not there. Make them with the option nodes: "make".`;
      throw new TenonError("not-found", text, { fields: { root: this.root } });
    }
    if (node.data.toString() === format) return;
    if (node.data.toString() === formerFormat) return this.#raise(connection, node.stat.version);
    const text = `The nodes under ${this.root} are another version's. Use another root, or the release of Tenon that made them.`;
    throw new TenonError("conflict", text, { fields: { root: this.root } });
  }

  async #raise(connection: ZookeeperConnection, version: number): Promise<void> {
    const what = "raising the nodes' version";
    try {
      await connection.run(what, "unknown", (session) => session.setData(this.#format, Buffer.from(format), version));
    } catch (error) {
      if (!isCollision(error)) throw failureOf(error, what, "unknown");
      return this.check(connection);
    }
  }
}
