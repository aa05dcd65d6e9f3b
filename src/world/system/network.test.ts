import assert from "node:assert/strict";
import { test } from "node:test";
import type { Connection } from "../world.ts";
import { SystemNetwork } from "./network.ts";

const ANY_PORT = { host: "127.0.0.1", port: 0 };

/** Both ends of a connection over loopback. */
async function pair(): Promise<{ near: Connection; far: Connection; close(): Promise<void> }> {
  const network = new SystemNetwork();
  const { promise, resolve } = Promise.withResolvers<Connection>();
  const listener = await network.listen(ANY_PORT, resolve);
  const near = await network.connect(listener.address);
  const far = await promise;
  return {
    near,
    far,
    close: async () => {
      near.destroy();
      far.destroy();
      await listener.close();
    },
  };
}

async function readAll(connection: Connection): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (;;) {
    const bytes = await connection.read();
    if (bytes === undefined) return Buffer.concat(parts);
    parts.push(bytes);
  }
}

test("bytes arrive in order, in both directions, and the end is seen", async () => {
  const { near, far, close } = await pair();
  const large = Buffer.alloc(3_000_000).map((_, index) => (index * 13 + (index >> 10)) & 0xff);
  const sent = near.write(large).then(() => near.close());
  assert.ok((await readAll(far)).equals(large));
  await sent;
  await far.write(Buffer.from("still open on this side"));
  await far.close();
  assert.equal((await readAll(near)).toString(), "still open on this side");
  assert.equal(await near.read(), undefined);
  await close();
});

test("a writer waits for a reader who does not read", async () => {
  const { near, far, close } = await pair();
  const block = Buffer.alloc(8 * 1024 * 1024, 1);
  let writtenBlocks = 0;
  const writing = (async () => {
    for (let count = 0; count < 4; count++) {
      await near.write(block);
      writtenBlocks += 1;
    }
    await near.close();
  })();
  // Reading one part proves that bytes flow; what the kernel and the socket buffer is far below 32 MiB.
  const first = await far.read();
  assert.ok(writtenBlocks < 4);
  const rest = await readAll(far);
  assert.equal((first?.byteLength ?? 0) + rest.byteLength, 4 * block.byteLength);
  await writing;
  assert.equal(writtenBlocks, 4);
  await close();
});

test("a destroyed connection rejects reading and writing", async () => {
  const { near, far, close } = await pair();
  near.destroy();
  await assert.rejects(near.read(), { name: "NetworkError", failure: "broken" });
  await assert.rejects(near.write(Buffer.from("x")), { name: "NetworkError", failure: "broken" });
  await close();
  await assert.rejects(far.write(Buffer.from("x")), { name: "NetworkError", failure: "broken" });
});

test("a second read while one waits is refused", async () => {
  const { near, far, close } = await pair();
  const first = far.read();
  await assert.rejects(far.read(), /another read is under way/);
  await near.write(Buffer.from("x"));
  assert.equal(Buffer.from((await first)!).toString(), "x");
  await close();
});

test("nobody listening is refused, a taken port is occupied", async () => {
  const network = new SystemNetwork();
  const listener = await network.listen(ANY_PORT, () => {});
  await assert.rejects(
    network.listen(listener.address, () => {}),
    { name: "NetworkError", failure: "occupied" },
  );
  await listener.close();
  await assert.rejects(network.connect(listener.address), { name: "NetworkError", failure: "refused" });
});

test("an aborted connect rejects with the signal's reason", async () => {
  const network = new SystemNetwork();
  const listener = await network.listen(ANY_PORT, (connection) => connection.destroy());
  const reason = new Error("enough");
  await assert.rejects(network.connect(listener.address, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const connecting = network.connect(listener.address, { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(connecting, reason);
  await listener.close();
});
