/** The RabbitMQ engine for conformance cases: each subject under a prefix of its own, whose queues it deletes at its end. */
import { randomUUID } from "node:crypto";
import { connect } from "amqplib";
import type { ConformanceHost } from "tenon/conformance";
import { type RabbitmqClient, type RabbitmqEngine, rabbitmq } from "tenon/rabbitmq";
import { systemWorld } from "tenon/world";
import { RabbitmqConnection } from "../src/engines/rabbitmq/connection.ts";
import { LockedValues } from "../src/engines/rabbitmq/locked-values.ts";
import { decodeCatalogue, decodeTopic } from "../src/engines/rabbitmq/messages/catalogue.ts";
import { GroupRecord } from "../src/engines/rabbitmq/messages/group-record.ts";
import { namesOf, topicNamesOf } from "../src/engines/rabbitmq/names.ts";
import { mortalWorld } from "./mortal-world.ts";

export interface RabbitmqProcess {
  readonly engine: RabbitmqEngine;
  /** Ends as a killed process does: its connection breaks, and it never hears of anything again. */
  die(): Promise<void>;
}

export interface ProcessOptions {
  readonly commandTimeoutMs?: number | undefined;
}

export function testPrefix(): string {
  return `tenon_test_${randomUUID().replaceAll("-", "").slice(0, 16)}`;
}

export async function startRabbitmq(
  url: string,
  prefix: string,
  options: ProcessOptions = {},
): Promise<RabbitmqProcess> {
  const world = mortalWorld(systemWorld());
  const clients: RabbitmqClient[] = [];
  let isDead = false;
  const engine = await rabbitmq({
    async connect() {
      if (isDead) throw new Error("a process that has died connects no more");
      const client = await connect(`${url}?heartbeat=5`);
      clients.push(client);
      return client;
    },
    prefix,
    world,
    queues: "make",
    ...options,
  });
  return {
    engine,
    async die() {
      isDead = true;
      await world.die();
      for (const client of clients) client.connection.stream?.destroy();
    },
  };
}

/** How soon the session of a process that died ends. */
const sessionLeftMs = 100;

export function rabbitmqHost(url: string): ConformanceHost<RabbitmqEngine> {
  return {
    async start() {
      const prefix = testPrefix();
      let process = await startRabbitmq(url, prefix);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          await endSessionsSoon(url, prefix);
          process = await startRabbitmq(url, prefix);
        },
        async stop() {
          await process.engine.close();
          await removeAll(url, prefix);
        },
      };
    },
  };
}

async function withValues(
  url: string,
  work: (values: LockedValues, connection: RabbitmqConnection) => Promise<void>,
): Promise<void> {
  const connection = new RabbitmqConnection({
    world: systemWorld(),
    connect: () => connect(`${url}?heartbeat=5`),
    commandTimeoutMs: 10_000,
    connectTimeoutMs: 10_000,
  });
  await connection.open();
  try {
    await work(new LockedValues(connection, { lock: {}, state: {} }), connection);
  } finally {
    connection.close();
  }
}

/** As if the members had joined with short sessions, which a busy machine could end while they live. */
export async function endSessionsSoon(url: string, prefix: string): Promise<void> {
  const names = namesOf(prefix);
  await withValues(url, async (values) => {
    const read = async ({ bytes }: { bytes: Buffer }) => bytes;
    const { topics } = decodeCatalogue(await values.hold(names.catalogue, "a test", read));
    for (const { id, stage } of topics.values()) {
      if (stage !== "ready") continue;
      const topic = topicNamesOf(names, id);
      const { groups } = decodeTopic(await values.hold(topic.record, "a test", read));
      for (const { number } of groups.values()) {
        await values.hold(topic.group(number), "a test", async (value) => {
          const record = GroupRecord.decode(value.bytes);
          for (const member of record.state.memberIds) record.state.renew(member, sessionLeftMs, Date.now());
          await value.write(record.encode());
        });
      }
    }
  });
}

/** Deletes what the engine made under the prefix. */
export async function removeAll(url: string, prefix: string): Promise<void> {
  const engine = await rabbitmq({ connect: () => connect(`${url}?heartbeat=5`), prefix });
  for (const topic of await engine.messages.topics()) await engine.messages.remove(topic);
  await engine.close();
  const names = namesOf(prefix);
  await withValues(url, async (values, connection) => {
    await connection.with("a test", async (channel) => {
      await values.remove(channel, names.catalogue);
      await channel.deleteQueue(names.version);
      await channel.deleteExchange(names.news);
    });
  });
}
