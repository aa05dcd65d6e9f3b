import type { Sql } from "../relational/sql.ts";
import { ask } from "./commands.ts";
import { clock } from "./tables.ts";

/** Instants at which the same server is said to have started may differ by so much. */
const toleranceMs = 5_000;

const which = ask(`SELECT @@hostname AS host, @@server_id AS id, ${clock} AS now`);
const uptime = ask("SHOW GLOBAL STATUS LIKE 'Uptime'");

/** Names a server for as long as it lives: by where it is and when it started, which is known to the second. */
export class ServerLife {
  #place = "";
  #startedAt = Number.NaN;

  async nameOf(sql: Sql): Promise<string> {
    const [row] = await which(sql);
    const [status] = await uptime(sql);
    const place = `${row!.host}/${row!.id}`;
    const startedAt = (row!.now as number) - Number(String(status!.Value)) * 1_000;
    if (place !== this.#place || !(Math.abs(startedAt - this.#startedAt) <= toleranceMs)) {
      this.#place = place;
      this.#startedAt = startedAt;
    }
    return `${this.#place} ${this.#startedAt}`;
  }
}
