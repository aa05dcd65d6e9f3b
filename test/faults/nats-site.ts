/** A NATS server of a run's own. */
import { headers } from "@nats-io/transport-node";
import { nats } from "tenon/nats";
import { natsConnection } from "../nats-host.ts";
import { NatsServer } from "../nats-server.ts";
import type { RunSite } from "./run.ts";

export function natsSite(): RunSite {
  return {
    startServer: () => NatsServer.start(),
    open(port, settings) {
      const connect = () => natsConnection(`nats://tenon:tenon@127.0.0.1:${port}`);
      return nats({ ...settings, connect, headers, streams: "make" });
    },
  };
}
