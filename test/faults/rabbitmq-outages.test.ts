/** A server that is killed and comes back, one that stands still, and a member that does. */
import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { after, describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { connect } from "amqplib";
import { TenonError } from "tenon/contracts";
import { json, topic } from "tenon/messaging";
import { type RabbitmqEngine, rabbitmq } from "tenon/rabbitmq";
import { closedAfter } from "../closed-after.ts";
import { engine as find } from "../engines.ts";
import { removeAll, testPrefix } from "../rabbitmq-host.ts";
import { rabbitmqServerMissing, startRabbitmqServer } from "../rabbitmq-server.ts";
import { MessageLedger } from "./ledgers.ts";

const slow = process.env.TENON_SLOW === "1";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const shared = await find("rabbitmq");

interface Message {
  readonly key: string;
  readonly number: number;
}

function open(url: string, prefix: string, commandTimeoutMs = 3_000): Promise<RabbitmqEngine> {
  return rabbitmq({ connect: () => connect(`${url}?heartbeat=1`), prefix, queues: "make", commandTimeoutMs });
}

/** Publishes and consumes in two processes' way until it is told to stop; afterwards everything is accounted for. */
class Traffic {
  readonly ledger = new MessageLedger();
  readonly #engines: readonly RabbitmqEngine[];
  #stopping = false;

  constructor(engines: readonly RabbitmqEngine[]) {
    this.#engines = engines;
  }

  async during(outages: () => Promise<void>): Promise<void> {
    const topics = this.#engines.map((engine) =>
      topic(engine, "orders", { codec: json<Message>(), partitions: 2, groups: ["group"] }),
    );
    const consumers = await Promise.all(
      topics.map((orders) =>
        orders.consume(
          "group",
          (message, { partition, position, fence }) => this.ledger.handled({ ...message, partition, position, fence }),
          { sessionMs: 2_000 },
        ),
      ),
    );
    const publishing = topics.map(async (orders, index) => {
      for (let number = 0; !this.#stopping; number++) {
        const key = `key-${index}`;
        this.ledger.publishes(key, number);
        await orders.publish({ key, number }, { key, timeoutMs: 60_000 }).then(
          ({ partition, position }) => this.ledger.acknowledged(key, number, partition, position),
          (error: unknown) => this.ledger.failed(key, number, error),
        );
        await sleep(5);
      }
    });
    await sleep(300);
    await outages();
    const acknowledged = this.ledger.count("acknowledged");
    // It goes on after the last outage.
    while (this.ledger.count("acknowledged") < acknowledged + 20) await sleep(20);
    this.#stopping = true;
    await Promise.all(publishing);
    while (this.ledger.missing > 0) await sleep(20);
    for (const each of [...consumers, ...topics]) await each.close();
  }
}

describe("a RabbitMQ server", { skip: rabbitmqServerMissing, concurrency: 2 }, () => {
  test("that is killed in mid-run and started again loses nothing that was acknowledged, and keeps the order", async (t) => {
    const server = await startRabbitmqServer();
    t.after(() => server.dispose());
    const opened = () => closedAfter(t, open(server.url, "tenon"), (engine) => engine.close());
    const engines = await Promise.all([opened(), opened()]);
    const traffic = new Traffic(engines);
    await traffic.during(async () => {
      for (let kills = slow ? 4 : 2; kills > 0; kills--) {
        await server.stop();
        await server.start();
        await sleep(500);
      }
    });
    traffic.ledger.check();
    assert.deepEqual(traffic.ledger.faults, []);
    t.diagnostic(`${traffic.ledger.count("acknowledged")} acknowledged, ${traffic.ledger.effects} effects`);
  });

  test("that stands still lets calls fail in time, and all goes on when it does", async (t) => {
    const server = await startRabbitmqServer();
    t.after(async () => {
      server.resume();
      await server.dispose();
    });
    const engine = await open(server.url, "tenon", 500);
    t.after(() => engine.close());
    await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
    const messages = [{ body: Buffer.from("m") }];
    const append = () => engine.messages.append({ topic: "orders", partition: 0, messages });
    await append();
    server.pause();
    await assert.rejects(append(), (error) => error instanceof TenonError && error.code === "unavailable");
    await assert.rejects(engine.messages.topics(), { code: "unavailable", outcome: "not-applied" });
    server.resume();
    for (let tries = 0; tries < 50; tries++) {
      const done = await append().then(
        () => true,
        (error: unknown) => {
          assert.ok(error instanceof TenonError && error.code === "unavailable", String(error));
          return false;
        },
      );
      if (done) return;
      await sleep(100);
    }
    assert.fail("nothing went through after the server went on");
  });
});

interface Told {
  readonly fetched?: number;
  readonly fence?: number;
  readonly outcome?: string;
}

async function startMember(t: TestContext, prefix: string) {
  const file = fileURLToPath(new URL("rabbitmq-member.ts", import.meta.url));
  const options = { execArgv: ["--conditions=source"] };
  const child = fork(file, [`${shared.url}?heartbeat=1`, prefix], options);
  t.after(() => child.kill("SIGKILL"));
  const hear = async () => (await once(child, "message"))[0] as Told;
  return { child, hear, first: await hear() };
}

describe("a member on RabbitMQ", { skip: shared.skip }, () => {
  test("that is stopped beyond its session loses its lane under a lower fence, and settles nothing afterwards", async (t) => {
    const prefix = testPrefix();
    const engine = await open(shared.url, prefix);
    t.after(async () => {
      await engine.close();
      await removeAll(shared.url, prefix);
    });
    await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
    const messages = ["a", "b"].map((text) => ({ body: Buffer.from(text) }));
    await engine.messages.append({ topic: "orders", partition: 0, messages });
    const { child, hear, first } = await startMember(t, prefix);
    assert.equal(first.fetched, 2);
    child.kill("SIGSTOP");
    const successor = await engine.messages.join("orders", "group", {
      sessionMs: 5_000,
      revokeMs: 1_000,
      windowMax: 100,
    });
    const lane = await successor.nextLane();
    assert.ok(Number(lane.fence) > first.fence!);
    const stored = await lane.fetch(100);
    assert.deepEqual(
      stored.map(({ body }) => Buffer.from(body).toString()),
      ["a", "b"],
    );
    assert.ok(lane.suspectBelow > stored[1]!.position, "what was in its hands is suspect");
    child.kill("SIGCONT");
    const settling = hear();
    child.send("settle");
    assert.match((await settling).outcome!, /^(lost|unavailable), not-applied$/);
    assert.equal((await engine.messages.describe("orders")).groups[0]!.lanes[0]!.lag, 2);
    await lane.commit({ settled: stored.map(({ position }) => position) });
    assert.equal((await engine.messages.describe("orders")).groups[0]!.lanes[0]!.lag, 0);
  });
});
