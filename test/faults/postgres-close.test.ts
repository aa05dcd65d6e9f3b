import { engine } from "../engines.ts";
import { keepAlive } from "../server-suites.ts";
import { closing } from "./closing.ts";
import { postgresSite } from "./postgres-site.ts";

keepAlive();

const server = await engine("postgres");

closing("PostgreSQL", server.skip, { pg: () => postgresSite(server.url) });
