import { messageCases } from "tenon/conformance";
import { engine } from "./engines.ts";
import { postgresHost } from "./postgres-host.ts";
import { serverSuites } from "./server-suites.ts";

const { url, skip } = await engine("postgres");

for (const pipeline of [false, true]) {
  const server = pipeline ? "PostgreSQL, by a client that pipelines" : "PostgreSQL";
  serverSuites({ server, skip, host: postgresHost(url, { pipeline }), suites: { messages: messageCases } });
}
