import { after } from "node:test";
import { etcdMissing } from "../own-servers.ts";
import { closing } from "./closing.ts";
import { etcdSite } from "./coordination-sites.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

closing("etcd", etcdMissing, { fetch: () => etcdSite() });
