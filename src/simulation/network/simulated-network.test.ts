import assert from "node:assert/strict";
import { test } from "node:test";
import { type Connection, NetworkError, type World } from "../../world/world.ts";
import { simulate } from "../simulate.ts";
import type { Main, ProcessHandle, SimulatedSystem, SimulateOptions, SimulationReport, TraceLine } from "../system.ts";
import { calmNetwork, type NetworkSettings } from "./network-control.ts";

const forever = (): Promise<never> => new Promise(() => {});
const address = { host: "engine", port: 4000 };
/** Every way takes exactly 1 ms, and nothing is split, so that instants can be told. */
const exact: NetworkSettings = { ...calmNetwork, latencyMs: { min: 1, max: 1 }, splitChance: 0 };
const broken = { name: "NetworkError", failure: "broken" };

interface Stage {
  readonly system: SimulatedSystem;
  readonly shop: ProcessHandle;
  readonly engine: ProcessHandle;
  /** A connection of the shop to the engine, whichever incarnations they have. */
  connect(): Promise<{ readonly near: Connection; readonly far: Connection }>;
}

/** A shop that does nothing by itself, and an engine that accepts on port 4000. */
function stage(
  settings: Partial<NetworkSettings>,
  body: (stage: Stage) => Promise<void>,
  options: Partial<SimulateOptions> = {},
): Promise<SimulationReport> {
  return simulate({ seed: 1, safetyMs: 3_600_000, ...options }, async (system) => {
    system.network.settings = { ...exact, ...settings };
    let accept: (connection: Connection) => void = () => {};
    const engine = system.process("engine", async ({ world }) => {
      await world.network.listen(address, (connection) => accept(connection));
      await forever();
    });
    const shop = system.process("shop", forever);
    const connect = async () => {
      const accepted = Promise.withResolvers<Connection>();
      accept = accepted.resolve;
      const near = await shop.run(({ world }) => world.network.connect(address));
      return { near, far: await accepted.promise };
    };
    await system.sleep(1);
    await body({ system, shop, engine, connect });
  });
}

interface Watched<Result> {
  readonly promise: Promise<Result>;
  state: "pending" | "done" | "failed";
  result?: Result;
  error?: unknown;
  settledAtMs?: number;
}

/** What becomes of a promise, and when. */
function watch<Result>(system: SimulatedSystem, promise: Promise<Result>): Watched<Result> {
  const watched: Watched<Result> = { promise, state: "pending" };
  promise.then(
    (result) => Object.assign(watched, { state: "done", result, settledAtMs: system.nowMs }),
    (error: unknown) => Object.assign(watched, { state: "failed", error, settledAtMs: system.nowMs }),
  );
  return watched;
}

function isBroken(error: unknown): boolean {
  return error instanceof NetworkError && error.failure === "broken";
}

const bytes = (text: string) => Buffer.from(text);

async function readText(connection: Connection, sizeBytes: number): Promise<string> {
  let text = "";
  while (text.length < sizeBytes) text += Buffer.from((await connection.read()) ?? assert.fail("it ended"));
  return text;
}

test("bytes take their time, and the trace says what travels", async () => {
  const lines: TraceLine[] = [];
  await stage(
    {},
    async ({ system, connect }) => {
      const { near, far } = await connect();
      const sentAtMs = system.nowMs;
      await near.write(bytes("hello"));
      assert.ok(system.nowMs - sentAtMs < 0.1);
      assert.equal(await readText(far, 5), "hello");
      assert.ok(system.nowMs - sentAtMs >= 1 && system.nowMs - sentAtMs < 1.1);
      await far.close();
      assert.equal(await near.read(), undefined);
    },
    { trace: (line) => lines.push(line) },
  );
  const texts = lines.map(({ text }) => text);
  const story = [
    "shop -> engine:4000 connect",
    "engine:4000 -> shop accept",
    "shop#1 connect to engine:4000",
    "shop -> engine:4000 #1 open",
    "engine#1 accept #1 from shop",
    "shop#1 write 5 bytes to engine:4000",
    "shop -> engine:4000 #1 5 bytes (907060870)",
    "engine#1 read from shop:49152",
    "engine:4000 -> shop #1 end",
    "shop#1 read from engine:4000",
  ];
  const positions = story.map((text) => texts.indexOf(text));
  assert.ok(!positions.includes(-1), `missing: ${story[positions.indexOf(-1)]} in\n${texts.join("\n")}`);
  assert.deepEqual(
    positions,
    positions.toSorted((left, right) => left - right),
  );
});

test("a process that waits for bytes says so", async () => {
  await assert.rejects(
    stage({}, async ({ connect }) => {
      const { near } = await connect();
      await near.read();
    }),
    /shop \(running\) waits for: read from engine:4000/,
  );
});

test("pieces of one connection never overtake each other, those of two do", async () => {
  await stage({ latencyMs: { min: 1, max: 500 } }, async ({ connect }) => {
    const [one, other] = [await connect(), await connect()];
    const arrived: string[] = [];
    const reading = [one, other].map(async ({ far }, index) => {
      for (let bytes = await far.read(); bytes !== undefined; bytes = await far.read())
        for (const byte of bytes) arrived.push(`${index} ${byte}`);
    });
    for (let count = 0; count < 20; count++) {
      await one.near.write(Uint8Array.of(count));
      await other.near.write(Uint8Array.of(count));
    }
    await Promise.all([one.near.close(), other.near.close(), ...reading]);
    const orderOf = (index: number) => arrived.filter((entry) => entry.startsWith(`${index} `));
    const inOrder = (index: number) => Array.from({ length: 20 }, (_, count) => `${index} ${count}`);
    assert.deepEqual(orderOf(0), inOrder(0));
    assert.deepEqual(orderOf(1), inOrder(1));
    const sent = inOrder(0).flatMap((entry, count) => [entry, inOrder(1)[count]]);
    assert.notDeepEqual(arrived, sent);
  });
});

test("what was written at once may be read in parts, and what was written apart together", async () => {
  await stage({ splitChance: 0.8 }, async ({ system, connect }) => {
    const { near, far } = await connect();
    await near.write(Buffer.alloc(10_000, 1));
    const sizes: number[] = [];
    for (let left = 10_000; left > 0; left -= sizes.at(-1)!) sizes.push((await far.read())!.byteLength);
    assert.ok(sizes.length >= 2, sizes.join(" "));
    system.network.settings = exact;
    await near.write(bytes("one"));
    await near.write(bytes("two"));
    await system.sleep(10);
    assert.equal(Buffer.from((await far.read())!).toString(), "onetwo");
  });
});

test("some pieces are late where the settings say so", async () => {
  await stage({ delayChance: 0.2, delayMs: { min: 1_000, max: 1_000 } }, async ({ system, connect }) => {
    const { near, far } = await connect();
    const lateness: number[] = [];
    for (let count = 0; count < 100; count++) {
      const sentAtMs = system.nowMs;
      await near.write(bytes("x"));
      await far.read();
      lateness.push(Math.floor(system.nowMs - sentAtMs));
    }
    const late = lateness.filter((ms) => ms >= 1_000).length;
    assert.ok(late > 5 && late < 50, `${late} of 100 were late`);
  });
});

test("equal seeds give equal runs, other seeds other ones", async () => {
  const run = (seed: number) =>
    simulate({ seed, faults: "swarm", safetyMs: 20_000 }, async (system) => {
      for (const name of ["a", "b", "c"]) system.process(name, gossip, { whenMainFails: "restart" });
      await system.healed();
    });
  const hashes = new Set<string>();
  for (const seed of [1, 2, 3, 4]) {
    const [first, second] = [await run(seed), await run(seed)];
    assert.deepEqual(first, second);
    assert.ok(first.events > 500, `${first.events} events`);
    hashes.add(first.hash);
  }
  assert.equal(hashes.size, 4);
});

/** Answers everybody who connects, and asks another one again and again. */
const gossip: Main = async ({ name, world }) => {
  await world.network.listen({ host: name, port: 7 }, async (connection) => {
    try {
      for (let bytes = await connection.read(); bytes !== undefined; bytes = await connection.read())
        await connection.write(bytes);
      await connection.close();
    } catch {
      connection.destroy();
    }
  });
  for (;;) {
    const host = ["a", "b", "c"][Math.floor(world.random.float() * 3)]!;
    try {
      const connection = await world.network.connect({ host, port: 7 });
      await connection.write(world.random.bytes(2_000));
      await connection.close();
      while ((await connection.read()) !== undefined);
    } catch {}
    await world.timers.sleep(100);
  }
};

test("whatever strikes, what is read is what was written, in order and from its beginning, and nothing is left open in the end", async () => {
  const perMinute = { cut: 300, "half-open": 200, kill: 20, crash: 20, pause: 20, partition: 60, "slow-network": 10 };
  const faults = { perMinute, partitionMs: { min: 1, max: 20_000 } };
  let [whole, torn] = [0, 0];
  for (let seed = 1; seed <= 10; seed++) {
    /** By connection: how much was written before its stream was ended in order. */
    const ended = new Map<number, number>();
    let made = 0;
    const receive = async (connection: Connection, { timers }: World): Promise<void> => {
      // Nobody tells a reader that the other side is gone.
      timers.schedule(30_000, () => connection.destroy());
      let [id, at] = [-1, 0];
      try {
        for (let part = await connection.read(); part !== undefined; part = await connection.read()) {
          if (id === -1) id = part[0]!;
          for (const byte of part) assert.equal(byte, (id + 7 * at++) & 0xff, `byte ${at} of ${id}, seed ${seed}`);
        }
        if (at > 0) assert.equal(at, ended.get(id), `the end of ${id}, seed ${seed}`);
        whole += 1;
        await connection.close();
      } catch (error) {
        if (!isBroken(error)) throw error;
        torn += 1;
      }
    };
    const main: Main = async ({ name, world }) => {
      const { network, timers, random } = world;
      await network.listen({ host: name, port: 7 }, (connection) => void receive(connection, world));
      while (made < 200) {
        const id = made++;
        const sizeBytes = Math.floor(10_000 * random.float() ** 4) + 1;
        const sent = Uint8Array.from({ length: sizeBytes }, (_, at) => (id + 7 * at) & 0xff);
        try {
          const connection = await network.connect({ host: ["a", "b", "c"][Math.floor(random.float() * 3)]!, port: 7 });
          const writes = [
            connection.write(sent.subarray(0, sizeBytes / 2)),
            connection.write(sent.subarray(sizeBytes / 2)),
          ];
          ended.set(id, sizeBytes);
          await Promise.all([...writes, connection.close()]);
          await Promise.race([connection.read(), timers.sleep(5_000)]);
          connection.destroy();
        } catch (error) {
          if (!(error instanceof NetworkError)) throw error;
        }
        await timers.sleep(100 * random.float());
      }
    };
    await simulate({ seed, faults, safetyMs: 10_000 }, async (system) => {
      system.network.settings = {
        ...calmNetwork,
        latencyMs: { min: 0.1, max: 20 },
        splitChance: 0.3,
        bufferBytes: 1_024,
      };
      const processes = ["a", "b", "c"].map((name) => system.process(name, main));
      await system.healed();
      await Promise.all(processes.map(({ ended }) => ended));
      await system.sleep(60_000);
      assert.deepEqual(system.network.connections, [], `left open in seed ${seed}`);
    });
  }
  assert.ok(whole > 500 && torn > 20, `${whole} whole, ${torn} torn`);
});

test("a writer waits when so many bytes are unread, also those of a paused process, and goes on when they are read", async () => {
  await stage({ bufferBytes: 1_000 }, async ({ system, engine, connect }) => {
    const { near, far } = await connect();
    engine.pause();
    await near.write(Buffer.alloc(600));
    await near.write(Buffer.alloc(400));
    const waiting = watch(system, near.write(Buffer.alloc(1_500)));
    const reading = watch(system, far.read());
    await system.sleep(30_000);
    assert.deepEqual([waiting.state, reading.state], ["pending", "pending"]);
    engine.resume();
    assert.equal((await reading.promise)?.byteLength, 1_000);
    await system.sleep(5);
    assert.equal(waiting.state, "pending");
    await far.read();
    await waiting.promise;
  });
});

test("a paused process hears of nothing until it goes on", async () => {
  await stage({}, async ({ system, shop, connect }) => {
    const { near, far } = await connect();
    shop.pause();
    const written = watch(system, near.write(bytes("x")));
    const read = watch(system, near.read());
    assert.equal(await readText(far, 1), "x");
    await far.write(bytes("y"));
    await system.sleep(1_000);
    assert.deepEqual([written.state, read.state], ["pending", "pending"]);
    shop.resume();
    assert.equal(Buffer.from((await read.promise)!).toString(), "y");
    assert.equal(written.state, "done");
  });
});

test("what is sent into a block arrives after it, in order", async () => {
  await stage({}, async ({ system, connect }) => {
    const { near, far } = await connect();
    system.network.block("shop", "engine");
    await near.write(bytes("one"));
    const read = watch(system, far.read());
    await system.sleep(5_000);
    await near.write(bytes("two"));
    assert.equal(read.state, "pending");
    system.network.unblock("shop", "engine");
    await near.write(bytes("three"));
    await near.close();
    let text = Buffer.from((await read.promise)!).toString();
    for (let part = await far.read(); part !== undefined; part = await far.read()) text += Buffer.from(part);
    assert.equal(text, "onetwothree");
    assert.ok(system.nowMs < 8_500);
  });
});

test("a block that outlasts the sender's patience breaks the connection for it; the other side learns it when it writes", async () => {
  await stage({}, async ({ system, connect }) => {
    const { near, far } = await connect();
    system.network.partition([["shop"], ["engine"]]);
    const sentAtMs = system.nowMs;
    await near.write(bytes("lost"));
    const nearRead = watch(system, near.read());
    const farRead = watch(system, far.read());
    await assert.rejects(nearRead.promise, { ...broken, message: /nothing arrives at the other side/ });
    assert.ok(system.nowMs - sentAtMs >= 15_000 && system.nowMs - sentAtMs <= 30_100);
    await assert.rejects(near.write(bytes("x")), broken);
    system.network.heal();
    await system.sleep(60_000);
    assert.equal(farRead.state, "pending");
    await far.write(bytes("is anybody there?"));
    await assert.rejects(farRead.promise, { ...broken, message: /reset by the other side/ });
  });
});

test("where only the way back is blocked, bytes arrive, and their sender hears that the connection broke", async () => {
  await stage({}, async ({ system, connect }) => {
    const { near, far } = await connect();
    system.network.block("engine", "shop");
    await near.write(bytes("did you get this?"));
    assert.equal(await readText(far, 17), "did you get this?");
    await assert.rejects(near.read(), broken);
  });
});

test("a short block of the way back leaves no trace", async () => {
  await stage({ bufferBytes: 10 }, async ({ system, connect }) => {
    const { near, far } = await connect();
    system.network.block("engine", "shop");
    const writing = watch(system, near.write(Buffer.alloc(25, "x")));
    assert.equal(await readText(far, 10), "xxxxxxxxxx");
    await system.sleep(10_000);
    assert.equal(writing.state, "pending");
    system.network.unblock("engine", "shop");
    assert.equal(await readText(far, 15), "xxxxxxxxxxxxxxx");
    await writing.promise;
    await system.sleep(60_000);
    await near.write(bytes("y"));
    assert.equal(await readText(far, 1), "y");
  });
});

test("a writer without room hears that nobody is there any more", async () => {
  await stage({ bufferBytes: 10 }, async ({ system, engine, connect }) => {
    const { near } = await connect();
    await near.write(Buffer.alloc(10));
    const waiting = watch(system, near.write(Buffer.alloc(1)));
    await system.sleep(1_000);
    engine.crash();
    await assert.rejects(waiting.promise, { ...broken, message: /nothing arrives/ });
    assert.ok(system.nowMs > 15_000 && system.nowMs < 32_000);
  });
});

test("partitions part groups, isolation one host in one direction, and the others reach everybody", async () => {
  await simulate({ seed: 1 }, async (system) => {
    system.network.settings = { ...exact, connectGiveUpMs: 100 };
    const names = ["a", "b", "c", "d"];
    for (const name of names)
      system.process(name, async ({ world }) => {
        await world.network.listen({ host: name, port: 1 }, () => {});
        await forever();
      });
    await system.sleep(1);
    const reachable = async (): Promise<string> => {
      const pairs: string[] = [];
      for (const from of system.processes)
        for (const to of names.filter((name) => name !== from.name)) {
          const connecting = from.run(({ world }) => world.network.connect({ host: to, port: 1 }));
          await connecting.then(
            () => pairs.push(from.name + to),
            (error) => assert.equal(error.failure, "unreachable"),
          );
        }
      return pairs.join(" ");
    };
    const everybody = "ab ac ad ba bc bd ca cb cd da db dc";
    assert.equal(await reachable(), everybody);
    system.network.partition([["a"], ["b", "c"]]);
    assert.equal(await reachable(), "ad bc bd cb cd da db dc");
    system.network.heal();
    assert.equal(await reachable(), everybody);
    // Connecting takes an answer, so that one way is not enough.
    system.network.isolate("a", "in");
    assert.equal(await reachable(), "bc bd cb cd db dc");
    system.network.heal();
    system.network.isolate("a", "out");
    system.network.block("c", "d");
    assert.equal(await reachable(), "bc bd cb db");
    system.network.heal();
    system.network.isolate("b");
    assert.equal(await reachable(), "ac ad ca cd da dc");
  });
});

test("connecting: refused where nobody listens, unreachable where nobody is", async () => {
  await stage({}, async ({ system, shop, engine }) => {
    const attempt = async (host: string, port: number) => {
      const startedAtMs = system.nowMs;
      const connecting = shop.run(({ world }) => world.network.connect({ host, port }));
      const failure = await connecting.then(
        () => "connected",
        (error) => error.failure,
      );
      return `${failure} after ${Math.floor(system.nowMs - startedAtMs)} ms`;
    };
    assert.equal(await attempt("engine", 4000), "connected after 2 ms");
    assert.equal(await attempt("engine", 4001), "refused after 2 ms");
    assert.equal(await attempt("engnie", 4000), "unreachable after 2 ms");
    engine.crash("process");
    assert.equal(await attempt("engine", 4000), "refused after 2 ms");
    engine.restart();
    await system.sleep(1);
    assert.equal(await attempt("engine", 4000), "connected after 2 ms");
    engine.crash("lost");
    assert.equal(await attempt("engine", 4000), "unreachable after 20000 ms");
    engine.restart();
    system.network.block("engine", "shop");
    assert.equal(await attempt("engine", 4000), "unreachable after 20000 ms");
  });
});

test("an attempt to connect is repeated while a way is blocked", async () => {
  await stage({}, async ({ system, connect }) => {
    system.network.block("shop", "engine");
    const connecting = watch(system, connect());
    await system.sleep(5_000);
    system.network.heal();
    const { near, far } = await connecting.promise;
    await near.write(bytes("x"));
    assert.equal(await readText(far, 1), "x");
    // Tried after 1, 3 and 7 s.
    assert.equal(Math.floor(connecting.settledAtMs! / 1_000), 7);
  });
});

test("a listener of the loopback hears only its own machine", async () => {
  await stage({}, async ({ shop, engine }) => {
    const listener = await engine.run(({ world }) => world.network.listen({ host: "127.0.0.1", port: 0 }, () => {}));
    const { port } = listener.address;
    for (const host of ["localhost", "127.0.0.1", "engine"])
      (await engine.run(({ world }) => world.network.connect({ host, port }))).destroy();
    await assert.rejects(
      shop.run(({ world }) => world.network.connect({ host: "engine", port })),
      { failure: "refused" },
    );
    const open = await engine.run(({ world }) => world.network.listen({ host: "0.0.0.0", port: 0 }, () => {}));
    await shop.run(({ world }) => world.network.connect({ host: "engine", port: open.address.port }));
  });
});

test("a killed process resets its connections, and the machine goes on answering for it", async () => {
  await stage({}, async ({ system, engine, connect }) => {
    const { near } = await connect();
    const read = watch(system, near.read());
    const killedAtMs = system.nowMs;
    engine.crash("process");
    await assert.rejects(read.promise, { ...broken, message: /reset by the other side/ });
    assert.ok(system.nowMs - killedAtMs < 1.2);
  });
});

test("a killed process may look as if it had closed in order, until it is written to", async () => {
  await stage({ quietEndChance: 1 }, async ({ engine, connect }) => {
    const { near, far } = await connect();
    await far.write(bytes("the beginning of"));
    engine.crash("process");
    assert.equal(await readText(near, 16), "the beginning of");
    assert.equal(await near.read(), undefined);
    await near.write(bytes("go on"));
    await assert.rejects(
      (async () => {
        for (;;) await near.write(bytes("?"));
      })(),
      broken,
    );
  });
});

test("what was left unread always breaks the connection, however quiet ends are", async () => {
  await stage({ quietEndChance: 1 }, async ({ system, engine, connect }) => {
    const { near } = await connect();
    const read = watch(system, near.read());
    await near.write(bytes("unread"));
    await system.sleep(10);
    engine.crash("process");
    await assert.rejects(read.promise, broken);
  });
});

test("a kernel delivers what a killed process has written, unless its machine dies too", async () => {
  for (const machineDies of [false, true]) {
    await stage({ quietEndChance: 1 }, async ({ system, engine, connect }) => {
      const { near, far } = await connect();
      system.network.block("engine", "shop");
      await far.write(bytes("last words"));
      engine.crash("process");
      engine.restart();
      await system.sleep(10);
      if (machineDies) engine.crash("lost");
      system.network.heal();
      const read = watch(system, near.read());
      await system.sleep(10_000);
      assert.equal(read.state, machineDies ? "pending" : "done");
    });
  }
});

test("a kill behind a block is silent: the other side learns it when it writes and the way is open", async () => {
  await stage({}, async ({ system, engine, connect }) => {
    const { near } = await connect();
    system.network.partition([["shop"], ["engine"]]);
    engine.crash("process");
    await system.sleep(100);
    system.network.heal();
    const read = watch(system, near.read());
    await system.sleep(100_000);
    assert.equal(read.state, "pending");
    await near.write(bytes("x"));
    await assert.rejects(read.promise, broken);
  });
});

test("a dead machine is silent; it resets what it does not know when it is back", async () => {
  await stage({}, async ({ system, engine, connect }) => {
    const { near } = await connect();
    const idle = await connect();
    engine.crash();
    const read = watch(system, near.read());
    const idleRead = watch(system, idle.near.read());
    await near.write(bytes("x"));
    await system.sleep(10_000);
    assert.equal(read.state, "pending");
    engine.restart();
    await assert.rejects(read.promise, { ...broken, message: /reset by the other side/ });
    await system.sleep(100_000);
    assert.equal(idleRead.state, "pending");
    await idle.near.write(bytes("x"));
    await assert.rejects(idleRead.promise, broken);
  });
});

test("a machine that stays dead is given up", async () => {
  await stage({}, async ({ system, engine, connect }) => {
    const { near } = await connect();
    engine.crash();
    await near.write(bytes("x"));
    const writtenAtMs = system.nowMs;
    await assert.rejects(near.read(), { ...broken, message: /nothing arrives/ });
    assert.ok(system.nowMs - writtenAtMs >= 14_999 && system.nowMs - writtenAtMs <= 30_001);
  });
});

test("what a machine sent before it died arrives", async () => {
  await stage({}, async ({ system, shop, connect }) => {
    const { near, far } = await connect();
    await near.write(bytes("last words"));
    shop.crash();
    assert.equal(await readText(far, 10), "last words");
    const read = watch(system, far.read());
    await system.sleep(100_000);
    assert.equal(read.state, "pending");
  });
});

test("a dead process' handles are inert, and its listener takes nobody", async () => {
  await stage({}, async ({ system, shop, connect }) => {
    const { near, far } = await connect();
    const listener = await shop.run(({ world }) => world.network.listen({ host: "shop", port: 1 }, () => {}));
    const network = shop.run(({ world }) => world.network);
    const pending = [near.read(), near.write(Buffer.alloc(1_000_000)), network.connect(address)];
    shop.crash("process");
    near.destroy();
    const controller = new AbortController();
    const late: Promise<unknown>[] = [
      near.read(),
      near.write(bytes("x")),
      near.close(),
      listener.close(),
      network.connect(address),
    ];
    late.push(
      network.connect(address, { signal: controller.signal }),
      network.listen(address, () => {}),
    );
    controller.abort(new Error("enough"));
    const watched = [...pending, ...late].map((promise) => watch<unknown>(system, promise));
    await assert.rejects(
      (async () => {
        while ((await far.read()) !== undefined);
      })(),
      broken,
    );
    await system.sleep(100_000);
    assert.deepEqual([...new Set(watched.map(({ state }) => state))], ["pending"]);
    assert.deepEqual(system.network.connections, []);
  });
});

test("connections are listed while one side knows them", async () => {
  await stage({}, async ({ system, connect }) => {
    const one = await connect();
    const other = await connect();
    const ids = () => system.network.connections.map(({ id }) => id);
    assert.deepEqual(system.network.connections, [
      { id: 1, from: "shop", to: "engine" },
      { id: 2, from: "shop", to: "engine" },
    ]);
    await one.near.close();
    await system.sleep(5);
    assert.deepEqual(ids(), [1, 2]);
    await one.far.close();
    await system.sleep(5);
    assert.deepEqual(ids(), [2]);
    other.near.destroy();
    await system.sleep(5);
    assert.deepEqual(ids(), []);
    assert.throws(() => system.network.cut(2, "reset"), /no connection 2/);
  });
});

test("a cut breaks both sides when the news reaches them", async () => {
  await stage({}, async ({ system, connect }) => {
    const { near, far } = await connect();
    const reads = [watch(system, near.read()), watch(system, far.read())];
    system.network.cut(1, "reset");
    await system.sleep(0.5);
    assert.deepEqual(
      reads.map(({ state }) => state),
      ["pending", "pending"],
    );
    await system.sleep(1);
    assert.deepEqual(
      reads.map(({ error }) => isBroken(error)),
      [true, true],
    );
  });
});

test("a half-open connection is known to the side that connected, until it writes", async () => {
  await stage({}, async ({ system, connect }) => {
    const { near, far } = await connect();
    system.network.cut(1, "half-open");
    await assert.rejects(far.read(), broken);
    const read = watch(system, near.read());
    await system.sleep(100_000);
    assert.equal(read.state, "pending");
    await near.write(bytes("x"));
    await assert.rejects(read.promise, broken);
    assert.deepEqual(system.network.connections, []);
  });
});

test("a connection whose listener has closed meanwhile is reset", async () => {
  await stage({}, async ({ system, shop, engine }) => {
    const listener = await engine.run(({ world }) =>
      world.network.listen({ host: "engine", port: 5 }, () => assert.fail("it took one")),
    );
    const connecting = shop.run(({ world }) => world.network.connect({ host: "engine", port: 5 }));
    await system.sleep(1.5);
    await listener.close();
    await assert.rejects((await connecting).read(), broken);
  });
});

test("an aborted attempt to connect leaves nothing behind", async () => {
  await stage({}, async ({ system, shop }) => {
    for (const afterMs of [0.5, 1.5, 2.0001]) {
      const controller = new AbortController();
      const connecting = watch(
        system,
        shop.run(({ world }) => world.network.connect(address, { signal: controller.signal })),
      );
      await system.sleep(afterMs);
      controller.abort(new Error("enough"));
      await assert.rejects(connecting.promise, /enough/);
      await system.sleep(10);
      assert.deepEqual(system.network.connections, []);
    }
  });
});
