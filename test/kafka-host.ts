/** The Kafka engine for conformance cases: each subject under a prefix of its own, whose topics it deletes at its end. */
import { randomUUID } from "node:crypto";
import * as client from "@platformatic/kafka";
import type { ConformanceHost } from "tenon/conformance";
import { type KafkaEngine, type KafkaOptions, kafka } from "tenon/kafka";
import { systemWorld } from "tenon/world";
import { mortalWorld } from "./mortal-world.ts";

export interface KafkaProcess {
  readonly engine: KafkaEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export interface Server {
  readonly host: string;
  readonly port: number;
}

export function serverOf(url: string): Server {
  const { hostname, port } = new URL(url);
  return { host: hostname, port: Number(port) };
}

export function testPrefix(): string {
  return `tenon-test-${randomUUID().slice(0, 13)}`;
}

export async function startKafka(
  { host, port }: Server,
  prefix: string,
  options: Partial<KafkaOptions> = {},
): Promise<KafkaProcess> {
  const world = mortalWorld(systemWorld());
  const connections: client.Connection[] = [];
  let isDead = false;
  const connect = () => {
    if (isDead) throw new Error("a process that has died connects no more");
    const connection = new client.Connection("tenon-test");
    connections.push(connection);
    return connection;
  };
  const brokers = [`${host}:${port}`];
  const engine = await kafka({ client, connect, brokers, prefix, world, journal: "make", ...options });
  return {
    engine,
    async die() {
      isDead = true;
      await world.die();
      // As a process that is killed: nobody takes leave.
      for (const connection of connections) connection.socket?.destroy();
    },
  };
}

/** Options with which an engine comes to brokers through a port, wherever they say that they are. */
export function detouredTo(port: number): Pick<KafkaOptions, "connect" | "brokers"> {
  class Detour extends client.Connection {
    override connect(_host: string, _port: number, callback?: () => void): void | Promise<void> {
      return super.connect("127.0.0.1", port, callback as never);
    }
  }
  return { connect: () => new Detour("tenon-test"), brokers: [`127.0.0.1:${port}`] };
}

export function kafkaHost(server: Server): ConformanceHost<KafkaEngine> {
  return {
    async start() {
      const prefix = testPrefix();
      let process = await startKafka(server, prefix);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          process = await startKafka(server, prefix);
        },
        async stop() {
          await process.engine.close();
          await deleteTopics(server, prefix);
        },
      };
    },
  };
}

/** Also when somebody else is deleting them. */
export async function deleteTopics({ host, port }: Server, prefix: string): Promise<void> {
  // Without retries: topics that are gone are as gone when they are deleted again.
  const admin = new client.Admin({ clientId: "tenon-test", bootstrapBrokers: [`${host}:${port}`], retries: 0 });
  try {
    // Brokers list a topic a little longer than it is there.
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix));
    if (topics.length > 0) await admin.deleteTopics({ topics });
  } catch (error) {
    if (!isOfMissingTopics(error)) throw error;
  } finally {
    await admin.close();
  }
}

/** Whether everything that went wrong is that topics were gone already. */
function isOfMissingTopics(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.every(isOfMissingTopics);
  return (error as { apiId?: unknown } | undefined)?.apiId === "UNKNOWN_TOPIC_OR_PARTITION";
}
