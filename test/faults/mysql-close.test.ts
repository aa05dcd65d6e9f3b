import { engine } from "../engines.ts";
import { keepAlive } from "../server-suites.ts";
import { closing } from "./closing.ts";
import { mysqlSite } from "./mysql-site.ts";

keepAlive();

const server = await engine("mariadb");

closing("MariaDB", server.skip, { mysql2: () => mysqlSite(server.url) });
