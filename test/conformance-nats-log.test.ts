import { logCases } from "tenon/conformance";
import { engine } from "./engines.ts";
import { natsHost } from "./nats-host.ts";
import { serverSuites } from "./server-suites.ts";

const { url, skip } = await engine("nats");

serverSuites({ server: "NATS", skip, host: natsHost(url), suites: { logs: logCases } });
