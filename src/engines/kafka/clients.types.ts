import * as client from "@platformatic/kafka";
import type { KafkaClient, KafkaConnection } from "./clients.ts";

// The real client must fit what is used of it.
client satisfies KafkaClient;
new client.Connection() satisfies KafkaConnection;
