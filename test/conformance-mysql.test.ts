import { coordinationCases, keyValueCases, leaseCases, rateCases } from "tenon/conformance";
import { engine } from "./engines.ts";
import { mysqlHost } from "./mysql-host.ts";
import { serverSuites } from "./server-suites.ts";

const { url, skip } = await engine("mariadb");

serverSuites({
  server: "MariaDB",
  skip,
  host: mysqlHost(url),
  suites: { "key-values": keyValueCases, leases: leaseCases, coordination: coordinationCases, rates: rateCases },
});
