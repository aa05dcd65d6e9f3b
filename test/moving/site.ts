/** The engines of a move, as every process of it opens them. */
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { Client } from "pg";
import type { MessagingEngine } from "tenon/moving";
import { postgresEngine } from "tenon/postgres";
import { redis } from "tenon/redis";
import { remote } from "tenon/remote";
import { type Server, startKafka } from "../kafka-host.ts";

export type Place =
  | { readonly engine: "served"; readonly address: { readonly host: string; readonly port: number } }
  | { readonly engine: "kafka"; readonly server: Server; readonly prefix: string }
  | { readonly engine: "redis" | "postgres"; readonly url: string; readonly prefix: string };

export interface Site {
  readonly from: Place;
  readonly to: Place;
}

export type SiteEngine = MessagingEngine & AsyncDisposable;

/** Where a process of a move finds its site. */
const variable = "TENON_TEST_MOVE";

export function environmentOf(site: Site): NodeJS.ProcessEnv {
  return { ...process.env, [variable]: JSON.stringify(site) };
}

export function ownSite(): Site {
  return JSON.parse(process.env[variable]!) as Site;
}

export async function open(place: Place): Promise<SiteEngine> {
  switch (place.engine) {
    case "served":
      return await remote(place.address);
    case "kafka":
      return (await startKafka(place.server, place.prefix)).engine;
    case "redis": {
      const connect = () => new Redis(place.url, { autoResendUnfulfilledCommands: false }).on("error", () => undefined);
      return await redis({ connect, prefix: place.prefix });
    }
    case "postgres": {
      const connect = () => new Client({ connectionString: place.url });
      return await postgresEngine({ connect, prefix: place.prefix, tables: "make", connectionsMax: 4 });
    }
  }
}

export function program(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}
