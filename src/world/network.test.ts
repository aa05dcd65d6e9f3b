import assert from "node:assert/strict";
import { test } from "node:test";
import { type NetworkSettings, type ProcessContext, simulate } from "../simulation/index.ts";
import { SystemNetwork } from "./system/network.ts";
import type { Connection, Listener, Network } from "./world.ts";

interface Place {
  readonly near: Network;
  readonly far: Network;
  /** How `near` calls the host of `far`. */
  readonly farHost: string;
}

type Case = (place: Place) => Promise<void>;

async function simulated(seed: number, settings: Partial<NetworkSettings>, body: Case): Promise<void> {
  await simulate({ seed }, async (system) => {
    system.network.settings = { ...system.network.settings, ...settings };
    const networkOf = (name: string): Promise<Network> =>
      new Promise((resolve) => {
        system.process(name, ({ world }: ProcessContext) => resolve(world.network));
      });
    await body({ near: await networkOf("near"), far: await networkOf("far"), farHost: "far" });
  });
}

/** Every network keeps the same promises. */
const HOSTS: Readonly<Record<string, (body: Case) => Promise<void>>> = {
  system: (body) => body({ near: new SystemNetwork(), far: new SystemNetwork(), farHost: "127.0.0.1" }),
  simulated: (body) => simulated(1, {}, body),
  "simulated, on one host": (body) => simulated(2, {}, ({ near }) => body({ near, far: near, farHost: "localhost" })),
  "simulated, splitting what it can": (body) => simulated(3, { splitChance: 0.5 }, body),
  "simulated, quiet about ends": (body) => simulated(4, { quietEndChance: 1 }, body),
};

function everywhere(behaviour: string, body: Case): void {
  for (const [name, host] of Object.entries(HOSTS)) test(`${name} network: ${behaviour}`, () => host(body));
}

function listen(network: Network, host: string, accept: (connection: Connection) => void): Promise<Listener> {
  return network.listen({ host, port: 0 }, accept);
}

/** Both ends of a connection. */
async function pair({
  near,
  far,
  farHost,
}: Place): Promise<{ near: Connection; far: Connection; close(): Promise<void> }> {
  const { promise, resolve } = Promise.withResolvers<Connection>();
  const listener = await listen(far, farHost, resolve);
  const ends = { near: await near.connect(listener.address), far: await promise };
  return {
    ...ends,
    close: async () => {
      ends.near.destroy();
      ends.far.destroy();
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

async function writeForever(connection: Connection): Promise<never> {
  for (;;) await connection.write(Buffer.alloc(1000, 1));
}

const broken = { name: "NetworkError", failure: "broken" };

everywhere("bytes arrive in order, in both directions, and the end is seen", async (place) => {
  const { near, far, close } = await pair(place);
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

everywhere("writes need not be awaited to keep their order", async (place) => {
  const { near, far, close } = await pair(place);
  const returned: number[] = [];
  const writes = Array.from({ length: 200 }, (_, index) =>
    near.write(Buffer.from(`${index},`)).then(() => returned.push(index)),
  );
  await Promise.all([...writes, near.close()]);
  const expected = Array.from({ length: 200 }, (_, index) => index);
  assert.equal((await readAll(far)).toString(), expected.map((index) => `${index},`).join(""));
  assert.deepEqual(returned, expected);
  await close();
});

everywhere("a writer waits for a reader who does not read", async (place) => {
  const { near, far, close } = await pair(place);
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

everywhere("an ended stream takes no more, and ending it twice is one end", async (place) => {
  const { near, far, close } = await pair(place);
  await near.close();
  await near.close();
  await far.write(Buffer.from("answer"));
  assert.equal(await far.read(), undefined);
  await far.close();
  assert.equal((await readAll(near)).toString(), "answer");
  await assert.rejects(near.write(Buffer.from("late")), broken);
  await close();
});

everywhere("a destroyed connection rejects reading and writing, and the other side's writes", async (place) => {
  const { near, far, close } = await pair(place);
  const waiting = near.read();
  near.destroy();
  await assert.rejects(waiting, broken);
  await assert.rejects(near.read(), broken);
  await assert.rejects(near.write(Buffer.from("x")), broken);
  await assert.rejects(writeForever(far), broken);
  await assert.rejects(far.write(Buffer.from("x")), broken);
  near.destroy();
  await close();
});

everywhere("a connection that is destroyed with something unread is broken on the other side", async (place) => {
  const { near, far, close } = await pair(place);
  await near.write(Buffer.from("12"));
  await near.write(Buffer.alloc(1000));
  await far.read();
  await near.write(Buffer.alloc(1000));
  far.destroy();
  await assert.rejects(writeForever(near), broken);
  await close();
});

everywhere("a second read while one waits is refused", async (place) => {
  const { near, far, close } = await pair(place);
  const first = far.read();
  await assert.rejects(far.read(), /another read is under way/);
  await near.write(Buffer.from("x"));
  assert.equal(Buffer.from((await first)!).toString(), "x");
  await close();
});

everywhere("nobody listening is refused, a taken port is occupied", async ({ near, far, farHost }) => {
  const listener = await listen(far, farHost, () => {});
  await assert.rejects(
    far.listen(listener.address, () => {}),
    { name: "NetworkError", failure: "occupied", address: listener.address },
  );
  await listener.close();
  await assert.rejects(near.connect(listener.address), {
    name: "NetworkError",
    failure: "refused",
    address: listener.address,
  });
  const again = await far.listen(listener.address, () => {});
  assert.deepEqual(again.address, listener.address);
  await again.close();
});

everywhere("an address of somebody else cannot be listened on", async ({ near }) => {
  await assert.rejects(
    listen(near, "192.0.2.1", () => {}),
    { name: "NetworkError", failure: "unreachable" },
  );
});

everywhere("connections that were accepted outlive their listener", async (place) => {
  const { promise, resolve } = Promise.withResolvers<Connection>();
  const listener = await listen(place.far, place.farHost, resolve);
  const near = await place.near.connect(listener.address);
  const far = await promise;
  await listener.close();
  await near.write(Buffer.from("x"));
  await near.close();
  assert.equal((await readAll(far)).toString(), "x");
  await far.close();
  assert.equal(await near.read(), undefined);
});

everywhere("an aborted connect rejects with the signal's reason", async ({ near, far, farHost }) => {
  const listener = await listen(far, farHost, (connection) => connection.destroy());
  const reason = new Error("enough");
  await assert.rejects(near.connect(listener.address, { signal: AbortSignal.abort(reason) }), reason);
  const controller = new AbortController();
  const connecting = near.connect(listener.address, { signal: controller.signal });
  controller.abort(reason);
  await assert.rejects(connecting, reason);
  await listener.close();
});
