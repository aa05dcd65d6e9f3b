import assert from "node:assert/strict";
import { test } from "node:test";
import { systemWorld } from "../../world/system/system-world.ts";
import type { Connection } from "../../world/world.ts";
import { codes, ZookeeperError } from "./failures.ts";
import { ProtocolWriter } from "./protocol.ts";
import { ZookeeperSession } from "./session.ts";

/** What the other side sends, byte by byte if need be. */
class Script implements Connection {
  readonly remote = { host: "", port: 0 };
  readonly #chunks: Uint8Array[];
  #wake: (() => void) | undefined;
  destroyed = false;

  constructor(chunks: readonly Uint8Array[]) {
    this.#chunks = [...chunks];
  }

  send(...chunks: readonly Uint8Array[]): void {
    this.#chunks.push(...chunks);
    this.#wake?.();
  }

  async write(): Promise<void> {}

  async read(): Promise<Uint8Array | undefined> {
    while (this.#chunks.length === 0) {
      if (this.destroyed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#chunks.shift();
  }

  async close(): Promise<void> {}

  destroy(): void {
    this.destroyed = true;
    this.#wake?.();
  }
}

const begun = new ProtocolWriter().int(0).int(10_000).long(1n).bytes(Buffer.alloc(16)).bool(false).frame();
const reply = (xid: number, code = 0, data = "") => {
  const writer = new ProtocolWriter().int(xid).long(5n).int(code);
  if (code === 0) {
    writer.text(data);
    for (let part = 0; part < 4; part++) writer.long(9n);
    writer.int(3).int(0).int(0).long(0n).int(0).int(0).long(0n);
  }
  return writer.frame();
};

async function open(...chunks: readonly Uint8Array[]) {
  const connection = new Script(chunks);
  const told: string[] = [];
  const settings = { world: systemWorld(), timeoutMs: 10_000, credentials: [], lastChange: 0 };
  const session = await ZookeeperSession.open(connection, { ...settings, told: (path) => told.push(path) });
  return { connection, session, told };
}

test("frames are found however they were cut", async () => {
  const bytes = [...begun, ...reply(1, 0, "one"), ...reply(2, 0, "two")];
  const { session } = await open(...bytes.map((byte) => Buffer.from([byte])));
  const [one, two] = await Promise.all([session.getData("/a"), session.getData("/b")]);
  assert.deepEqual([one?.data.toString(), two?.data.toString(), one?.stat.version], ["one", "two", 3]);
  session.end();
});

test("an answer out of turn ends the session, and nobody gets another's answer", async () => {
  const { session, connection } = await open(begun);
  const asked = session.getData("/a");
  connection.send(reply(2, 0, "not for you"));
  await assert.rejects(asked, (error) => error instanceof ZookeeperError && error.code === codes.connectionLoss);
  assert.ok(connection.destroyed);
  await assert.rejects(session.setData("/a", Buffer.alloc(0)), ZookeeperError);
});

test("what is told of nodes stands in nobody's way", async () => {
  const { session, connection, told } = await open(begun);
  const asked = session.getData("/a");
  const event = new ProtocolWriter().int(-1).long(-1n).int(0).int(3).int(3).text("/watched").frame();
  connection.send(event, reply(1, 0, "mine"));
  assert.equal((await asked)?.data.toString(), "mine");
  assert.deepEqual(told, ["/watched"]);
  session.end();
});

test("a node that is not there is no error, and a length that makes no sense ends the session", async () => {
  const { session, connection } = await open(begun);
  const [absent, cut] = [session.getData("/a"), session.getData("/b")];
  connection.send(reply(1, codes.noNode));
  assert.equal(await absent, undefined);
  connection.send(Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4]));
  await assert.rejects(cut, ZookeeperError);
});

test("credentials that are refused end the session with that reason", async () => {
  const { session, connection } = await open(begun);
  connection.send(new ProtocolWriter().int(-4).long(0n).int(codes.authFailed).frame());
  await session.broken;
  assert.equal(session.reason?.code, codes.authFailed);
});
