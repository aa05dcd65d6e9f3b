import { connect, headers, type NatsConnection } from "@nats-io/transport-node";
import { nats, natsStreams } from "tenon/nats";
import type { ServerDriver, ServerStore } from "../sale-servers.ts";

export const natsDriver: ServerDriver = {
  async prepare(store, connectTimeoutMs) {
    const engine = await open(store, "make", connectTimeoutMs);
    await engine.close();
  },
  open: (store) => open(store, "expect"),
  async remove({ url, prefix }) {
    const connection = await connectTo(url);
    try {
      for (const { name } of natsStreams(prefix)) await connection.request(`$JS.API.STREAM.DELETE.${name}`);
    } finally {
      await connection.close();
    }
  },
};

function open({ url, prefix }: ServerStore, streams: "make" | "expect", connectTimeoutMs?: number) {
  return nats({ connect: () => connectTo(url), headers, prefix, streams, connectTimeoutMs });
}

/** The client takes no credentials from a URL. */
function connectTo(url: string): Promise<NatsConnection> {
  const { host, username, password } = new URL(url);
  return connect({ servers: host, user: decodeURIComponent(username), pass: decodeURIComponent(password) });
}
