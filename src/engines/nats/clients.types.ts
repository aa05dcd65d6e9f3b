import { connect, headers } from "@nats-io/transport-node";
import type { NatsConnection, NatsHeaders } from "./clients.ts";

// The real client must fit what is used of it.
connect satisfies (options?: { servers?: string }) => Promise<NatsConnection>;
headers satisfies () => NatsHeaders;
