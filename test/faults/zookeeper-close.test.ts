import { after } from "node:test";
import { zookeeperMissing } from "../own-servers.ts";
import { closing } from "./closing.ts";
import { zookeeperSite } from "./coordination-sites.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

closing("ZooKeeper", zookeeperMissing, { TCP: () => zookeeperSite() });
