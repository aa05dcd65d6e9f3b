import * as client from "@platformatic/kafka";
import { kafka } from "tenon/kafka";
import type { ServerDriver, ServerStore } from "../sale-servers.ts";

export const kafkaDriver: ServerDriver = {
  async prepare(store, connectTimeoutMs) {
    const engine = await open(store, "make", connectTimeoutMs);
    await engine.close();
  },
  open: (store) => open(store, "expect"),
  async remove({ url, prefix }) {
    const admin = new client.Admin({ clientId: "flash-sale", bootstrapBrokers: [new URL(url).host] });
    try {
      const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(prefix));
      if (topics.length > 0) await admin.deleteTopics({ topics });
    } finally {
      await admin.close();
    }
  },
};

function open({ url, prefix }: ServerStore, journal: "make" | "expect", connectTimeoutMs?: number) {
  const connect = () => new client.Connection("flash-sale");
  return kafka({ client, connect, brokers: [new URL(url).host], prefix, journal, connectTimeoutMs });
}
