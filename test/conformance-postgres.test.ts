import { coordinationCases, keyValueCases, leaseCases, rateCases } from "tenon/conformance";
import { engine } from "./engines.ts";
import { postgresHost } from "./postgres-host.ts";
import { serverSuites } from "./server-suites.ts";

const { url, skip } = await engine("postgres");

serverSuites({
  server: "PostgreSQL",
  skip,
  host: postgresHost(url, { pipeline: true }),
  suites: { "key-values": keyValueCases, leases: leaseCases, coordination: coordinationCases, rates: rateCases },
});
