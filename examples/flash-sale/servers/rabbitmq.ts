import { connect } from "amqplib";
import { rabbitmq } from "tenon/rabbitmq";
import type { ServerDriver, ServerStore } from "../sale-servers.ts";

export const rabbitmqDriver: ServerDriver = {
  async prepare(store, connectTimeoutMs) {
    const engine = await open(store, "make", connectTimeoutMs);
    await engine.close();
  },
  open: (store) => open(store, "expect"),
  async remove(store) {
    const engine = await open(store, "expect");
    for (const topic of await engine.messages.topics()) await engine.messages.remove(topic);
    await engine.close();
  },
};

function open({ url, prefix }: ServerStore, queues: "make" | "expect", connectTimeoutMs?: number) {
  return rabbitmq({ connect: () => connect(`${url}?heartbeat=5`), prefix, queues, connectTimeoutMs });
}
