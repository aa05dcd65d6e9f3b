/** Messages of `remote()` when connections break, replies are lost, members are parted from their server, and servers come and go. */
import assert from "node:assert/strict";
import type { Batch, JoinOptions, Lane, Membership, MessageEngine, Stored } from "tenon/contracts";
import { TenonError } from "tenon/contracts";
import { embedded } from "tenon/embedded";
import { onStage, type Stage } from "./remote-stage.ts";

const joinDefaults: JoinOptions = { sessionMs: 10_000, revokeMs: 10_000, windowMax: 10_000 };
const encoder = new TextEncoder();
const decoder = new TextDecoder();

function batch(texts: readonly string[], more: Partial<Batch> = {}): Batch {
  return { topic: "orders", partition: 0, messages: texts.map((text) => ({ body: encoder.encode(text) })), ...more };
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `m${index}`);
}

function texts(messages: readonly Stored[]): string[] {
  return messages.map(({ body }) => decoder.decode(body));
}

async function declared({ engine }: Stage, ...messages: readonly string[]): Promise<void> {
  await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
  if (messages.length > 0) await engine.messages.append(batch(messages));
}

async function owned(
  engine: { readonly messages: MessageEngine },
  options: Partial<JoinOptions> = {},
): Promise<{ readonly member: Membership; readonly lane: Lane }> {
  const member = await engine.messages.join("orders", "group", { ...joinDefaults, ...options });
  return { member, lane: await member.nextLane() };
}

async function laneOf({ engine }: Stage) {
  const { groups } = await engine.messages.describe("orders");
  return { members: groups[0]!.members, ...groups[0]!.lanes[0]! };
}

async function failure(promise: Promise<unknown>): Promise<TenonError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TenonError, String(error));
  return error;
}

onStage(
  "an append whose reply is lost is unknown, and finds its positions when it is repeated under its mark",
  async (stage) => {
    await declared(stage);
    const { engine } = await stage.client();
    const marked = batch(["a", "b"], { producer: { id: "p", epoch: 0, sequence: 0 } });
    stage.network.hold("client");
    const append = failure(engine.messages.append(marked));
    await stage.loseWhatGoesTo("client");
    assert.equal((await append).outcome, "unknown");
    assert.deepEqual(await engine.messages.append(marked), [0n, 1n]);
    assert.equal((await laneOf(stage)).lag, 2);
  },
);

onStage("messages whose reply is lost come with the next connection, under the same grant", async (stage) => {
  await declared(stage, ...numbered(3));
  const { engine } = await stage.client();
  const { lane } = await owned(engine);
  stage.network.hold("client");
  const fetching = lane.fetch(10);
  await stage.loseWhatGoesTo("client");
  assert.deepEqual(texts(await fetching), numbered(3));
  assert.equal(lane.lost.aborted, false);
  await stage.engine.messages.append(batch(["more"]));
  assert.deepEqual(texts(await lane.fetch(10)), ["more"]);
});

onStage("a fetch that waits goes on waiting over several connections", async (stage) => {
  await declared(stage);
  const { engine } = await stage.client();
  const { lane } = await owned(engine);
  const fetching = lane.fetch(10);
  for (let cut = 0; cut < 3; cut++) {
    await stage.sleep(500);
    stage.network.cut();
  }
  await stage.sleep(500);
  await stage.engine.messages.append(batch(["late"]));
  assert.deepEqual(texts(await fetching), ["late"]);
});

onStage("commits are done once and in order, whichever of their replies is lost", async (stage) => {
  await declared(stage, ...numbered(4));
  const { engine } = await stage.client();
  const { member, lane } = await owned(engine);
  await lane.fetch(10);
  const held = (failures: number) => [{ position: 3n, failures, deliveries: 0, dueAt: 0 }];
  const appends = [batch(["copy"], { topic: "copies" })];
  await stage.engine.messages.declare("copies", { partitions: 1, groups: ["group"] });
  stage.network.hold("client");
  const first = lane.commit({ settled: [0n], held: held(1), appends });
  const second = lane.commit({ settled: [1n], held: held(2) });
  await stage.loseWhatGoesTo("client");
  stage.network.hold("server");
  const third = lane.commit({ settled: [2n], held: held(3) });
  await stage.loseWhatGoesTo("server");
  await Promise.all([first, second, third]);
  const { lag, low, held: heldCount } = await laneOf(stage);
  assert.deepEqual([lag, low, heldCount], [1, 3n, 1]);
  const copies = await stage.engine.messages.describe("copies");
  assert.equal(copies.groups[0]!.lanes[0]!.lag, 1, "without a mark a repeated append would be a second message");
  stage.network.cut();
  await member.leave();
  const next = await owned(stage.engine);
  assert.equal(next.lane.held[0]!.failures, 3);
  assert.equal(next.lane.suspectBelow, 0n, "it was given back in order");
});

for (const seed of [1, 2, 3, 4, 5, 6]) {
  onStage(
    `whenever connections break, each message comes once and all progress is kept (seed ${seed})`,
    async (stage) => {
      const count = 300;
      await declared(stage);
      const { engine } = await stage.client();
      const { random } = stage.world;
      const { lane } = await owned(engine, { windowMax: 40 });
      let isDone = false;
      const breaking = (async () => {
        while (!isDone) {
          await stage.sleep(random.float() * 60);
          if (random.float() < 0.5) stage.network.hold(random.float() < 0.5 ? "client" : "server");
          await stage.sleep(random.float() * 20);
          if (random.float() < 0.7) stage.network.cut();
          stage.network.release();
        }
      })();
      const publishing = (async () => {
        for (let sequence = 0; sequence < count; sequence += 3) {
          await stage.sleep(random.float() * 40);
          const part = numbered(count).slice(sequence, sequence + 3);
          const marked = batch(part, { producer: { id: "p", epoch: 0, sequence } });
          while (await engine.messages.append(marked).then(() => false, isUnavailable)) await stage.sleep(5);
        }
      })();
      const seen: string[] = [];
      const commits: Promise<void>[] = [];
      while (seen.length < count) {
        const messages = await lane.fetch(7);
        seen.push(...texts(messages));
        for (const { position } of messages) commits.push(lane.commit({ settled: [position] }));
      }
      await Promise.all(commits);
      isDone = true;
      await Promise.all([breaking, publishing]);
      assert.deepEqual(seen, numbered(count));
      const { lag, low } = await laneOf(stage);
      assert.deepEqual([lag, low], [0, BigInt(count)]);
      assert.equal(lane.lost.aborted, false);
      assert.ok(stage.network.connectionCount > 5, `${stage.network.connectionCount} connections`);
    },
    seed,
  );
}

onStage(
  "a member that is parted from its server loses its lanes by its own clocks before anybody else gets them",
  async (stage) => {
    await declared(stage, ...numbered(3));
    const { engine } = await stage.client();
    const { member, lane } = await owned(engine, { sessionMs: 2_000 });
    await lane.fetch(2);
    const successor = await stage.engine.messages.join("orders", "group", joinDefaults);
    const order: string[] = [];
    lane.lost.addEventListener("abort", () => order.push("lost"));
    const passed = successor.nextLane().then((next) => {
      order.push("granted");
      return next;
    });
    stage.network.hold("server");
    stage.network.hold("client");
    const commit = failure(lane.commit({ settled: [0n] }));
    const next = await passed;
    assert.deepEqual(order, ["lost", "granted"]);
    assert.ok(next.fence > lane.fence);
    assert.ok(next.suspectBelow >= 2n, "what the parted member fetched is suspect");
    assert.deepEqual(texts(await next.fetch(10)), numbered(3));
    assert.equal((await commit).outcome, "unknown");
    assert.equal((await failure(lane.fetch(1))).code, "lost");
    assert.equal((await failure(lane.commit({ settled: [0n] }))).code, "lost");
    stage.network.release();
    await stage.sleep(5_000);
    // It begins anew as another member, and gets the lane when the other one leaves.
    assert.equal((await laneOf(stage)).members, 2);
    const again = member.nextLane();
    await successor.leave();
    assert.ok((await again).fence > next.fence);
  },
);

onStage("a member that vanishes leaves its lanes to others when its session ends", async (stage) => {
  await declared(stage, ...numbered(3));
  const client = await stage.client();
  const { lane } = await owned(client.engine, { sessionMs: 3_000 });
  await lane.fetch(2);
  const died = stage.world.clock.monotonic();
  await client.die();
  const next = await owned(stage.engine);
  const tookMs = stage.world.clock.monotonic() - died;
  assert.ok(tookMs >= 1_900 && tookMs <= 3_100, `${tookMs} ms`);
  assert.ok(next.lane.suspectBelow >= 2n);
  assert.equal((await laneOf(stage)).members, 1);
});

onStage("a client that slept through its session believes in none of its lanes", async (stage) => {
  await declared(stage, ...numbered(3));
  const { engine } = await stage.client();
  const { lane } = await owned(engine);
  // Its monotonic clock stood still meanwhile.
  stage.simulation.stepClock(60_000);
  assert.equal((await failure(lane.fetch(1))).code, "lost");
  assert.equal(lane.lost.aborted, true);
});

onStage("a cut shorter than the session moves no lane", async (stage) => {
  await declared(stage, ...numbered(1));
  const { engine } = await stage.client();
  const { lane } = await owned(engine);
  const other = await stage.engine.messages.join("orders", "group", joinDefaults);
  let isGranted = false;
  other.nextLane().then(
    () => {
      isGranted = true;
    },
    () => undefined,
  );
  for (let cut = 0; cut < 5; cut++) {
    stage.network.cut();
    await stage.sleep(4_000);
  }
  assert.deepEqual([isGranted, lane.lost.aborted], [false, false]);
  assert.equal((await lane.fetch(1)).length, 1);
  await other.leave();
});

onStage(
  "after a restart of the server its members join anew, under greater fences, and what they had is suspect",
  async (stage) => {
    await declared(stage, ...numbered(2));
    const { engine } = await stage.client();
    const { member, lane } = await owned(engine);
    await lane.fetch(2);
    await stage.restartServer("kept");
    const next = await member.nextLane();
    assert.equal(lane.lost.aborted, true);
    assert.ok(next.fence > lane.fence);
    assert.ok(next.suspectBelow >= 2n);
    assert.deepEqual(texts(await next.fetch(10)), numbered(2));
    assert.equal((await laneOf(stage)).members, 1);
  },
);

onStage(
  "a member of a topic that its server has lost ends with `not-found`, and brings nothing back",
  async (stage) => {
    await declared(stage, ...numbered(2));
    const { engine } = await stage.client();
    const { member, lane } = await owned(engine);
    await stage.restartServer("lost");
    assert.equal((await failure(member.nextLane())).code, "not-found");
    assert.equal(lane.lost.aborted, true);
    assert.deepEqual(await stage.engine.messages.topics(), []);
    await member.leave();
  },
);

onStage("a group that was removed during an outage is not brought back by its members", async (stage) => {
  await declared(stage);
  const { engine } = await stage.client();
  const { member } = await owned(engine);
  await stage.stopServer();
  await stage.engine.messages.removeGroup("orders", "group");
  await stage.restartServer("kept");
  assert.equal((await failure(member.nextLane())).code, "not-found");
  assert.deepEqual((await stage.engine.messages.describe("orders")).groups, []);
});

onStage("an ephemeral group ends with the session of its member, on both sides", async (stage) => {
  await declared(stage);
  const { engine } = await stage.client();
  const options = { ...joinDefaults, sessionMs: 1_000, ephemeral: true };
  const member = await engine.messages.join("orders", "mine", options);
  await member.nextLane();
  stage.network.hold("server");
  await stage.sleep(3_000);
  stage.network.release();
  const { groups } = await stage.engine.messages.describe("orders");
  assert.deepEqual(
    groups.map(({ group }) => group),
    ["group"],
  );
  assert.equal((await failure(member.nextLane())).code, "not-found");
});

onStage("leaving during an outage is heard when the server is reached again", async (stage) => {
  await declared(stage);
  const { engine } = await stage.client();
  const { member } = await owned(engine);
  stage.network.hold("server");
  const leaving = member.leave();
  await stage.loseWhatGoesTo("server");
  await leaving;
  assert.equal((await laneOf(stage)).members, 0);
  const next = await owned(stage.engine);
  assert.equal(next.lane.suspectBelow, 0n);
});

onStage("closing gives the lanes back, and takes no longer than it must when nobody answers", async (stage) => {
  await declared(stage, ...numbered(1));
  const first = await stage.client("first");
  const { lane } = await owned(first.engine);
  await lane.fetch(1);
  await first.engine.close();
  assert.equal((await failure(lane.fetch(1))).code, "closed");
  const second = await stage.client("second");
  const next = await owned(second.engine);
  assert.equal(next.lane.suspectBelow, 0n);
  stage.network.hold("server");
  const begun = stage.world.clock.monotonic();
  await second.engine.close();
  assert.ok(stage.world.clock.monotonic() - begun <= 4_000);
  stage.network.release();
});

onStage("a lane of large messages is fetched in parts that fit", async (stage) => {
  await declared(stage);
  const body = new Uint8Array(1_500_000);
  for (let index = 0; index < 20; index++) {
    body[0] = index;
    await stage.engine.messages.append({ topic: "orders", partition: 0, messages: [{ body: body.slice() }] });
  }
  const { engine } = await stage.client();
  const { lane } = await owned(engine);
  const seen: number[] = [];
  while (seen.length < 20) {
    const messages = await lane.fetch(100);
    assert.equal(messages.length, 1, "one of them is more than a part");
    seen.push(messages[0]!.body[0]!);
  }
  assert.deepEqual(seen, [...seen.keys()]);
});

onStage("what was settled before it was handed out is not handed out", async (stage) => {
  await declared(stage, ...numbered(5));
  const { engine } = await stage.client();
  const { lane } = await owned(engine);
  const controller = new AbortController();
  const aborted = lane.fetch(5, { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(aborted);
  await stage.sleep(50);
  await lane.commit({ settled: [1n, 3n] });
  assert.deepEqual(texts(await lane.fetch(2)), ["m0", "m2"]);
  assert.deepEqual(texts(await lane.fetch(2)), ["m4"]);
});

function isUnavailable(error: unknown): boolean {
  assert.ok(error instanceof TenonError && error.code === "unavailable", String(error));
  return true;
}

onStage(
  "an engine whose disk fails under its server ends no membership: it goes on with the one that is opened next",
  async (stage) => {
    const open = () => embedded({ directory: "/data", world: stage.world });
    await stage.engine.close();
    stage.engine = await open();
    await stage.restartServer("kept");
    await declared(stage);
    const { engine } = await stage.client();
    const { member, lane } = await owned(engine);
    stage.simulation.disk.failOperation(1, "io", "once", { kinds: ["append"] });
    await failure(stage.engine.messages.append(batch(["refused"])));
    await stage.sleep(10);
    await stage.engine.close();
    stage.engine = await open();
    await stage.restartServer("kept");
    await stage.engine.messages.append(batch(["later"]));
    assert.deepEqual(texts(await (await member.nextLane()).fetch(10)), ["later"]);
    assert.ok(lane.lost.aborted);
  },
);
