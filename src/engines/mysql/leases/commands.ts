import type { LeaseCommands } from "../../relational/leases/commands.ts";
import type { Tables } from "../../relational/tables.ts";
import { discarding, drawing, rowsOf, sweeping, zip } from "../commands.ts";
import type { Notices } from "../notices.ts";
import { lockingRows, writingRows } from "../row-locks.ts";
import { clock } from "../tables.ts";

export function leaseCommands({ leases, tokens }: Tables, notices: Notices): LeaseCommands {
  const draw = drawing(tokens, clock);
  const discard = discarding(tokens);
  const sweep = sweeping(leases, "name", `ends_at <= ${clock}`, 1_000);
  const write = writingRows(leases, "name");
  return {
    lock: lockingRows(leases, "name"),
    draw: async (sql, [count]) => (await draw(sql, count as number)).map((row) => ({ ...row, token: row.number })),
    async write(sql, [names, states, ends, unused, channels, payloads]) {
      await write(sql, names!, states!, ends!, unused!);
      await notices.tell(sql, zip(channels!, payloads!) as readonly [string, string][]);
      return [];
    },
    describe: rowsOf(`SELECT c.now, l.state FROM (SELECT ${clock} AS now) c LEFT JOIN ${leases} l ON l.name = $1`),
    async sweep(sql) {
      await sweep(sql);
      await discard(sql);
      return [];
    },
  };
}
