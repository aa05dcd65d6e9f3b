import { logCases, messageCases } from "tenon/conformance";
import { engine } from "./engines.ts";
import { kafkaHost, serverOf } from "./kafka-host.ts";
import { serverSuites } from "./server-suites.ts";

const { skip, url } = await engine("kafka");

serverSuites({
  server: "Kafka",
  skip,
  host: kafkaHost(serverOf(url)),
  suites: { messages: messageCases, logs: logCases },
});
