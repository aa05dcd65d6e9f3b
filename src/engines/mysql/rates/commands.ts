import type { RateCommands } from "../../relational/rates/commands.ts";
import type { Tables } from "../../relational/tables.ts";
import { rowsOf, sweeping } from "../commands.ts";
import { lockingRows, writingRows } from "../row-locks.ts";
import { clock } from "../tables.ts";

export function rateCommands({ rates }: Tables): RateCommands {
  const write = writingRows(rates, "key");
  return {
    lock: lockingRows(rates, "key"),
    now: rowsOf(`SELECT ${clock} AS now`),
    async write(sql, [keys, states, ends, gone]) {
      await write(sql, keys!, states!, ends!, gone!);
      return [];
    },
    sweep: sweeping(rates, '"key"', `ends_at <= ${clock}`, 1_000),
  };
}
