import { connect } from "amqplib";
import type { RabbitmqClient } from "./clients.ts";

// The real client must fit what is used of it.
connect satisfies (url: string) => Promise<RabbitmqClient>;
