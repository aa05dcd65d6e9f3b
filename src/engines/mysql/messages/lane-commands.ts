import type { MessageCommands } from "../../relational/messages/commands.ts";
import type { Command, Row } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { affectedBy, ask, changeIf, rowsOf } from "../commands.ts";
import { clock } from "../tables.ts";

/** How many runs one fetch brings at most. */
const runsMax = 256;

export function laneCommands(t: Tables) {
  const lane = `topic = $1 AND group_id = $2 AND "partition" = $3 AND fence = $4`;
  const commit = rowsOf(
    `UPDATE ${t.lanes} SET low = $6, progress = $7, revision = revision + 1 WHERE ${lane} AND revision = $5`,
  );
  return {
    open: rowsOf(`SELECT low, "cursor", suspect, revision, progress FROM ${t.lanes} WHERE ${lane}`),
    fetch: fetching(t, lane),
    setCursor: changeIf(
      `UPDATE ${t.lanes} SET "cursor" = GREATEST("cursor", $5) WHERE ${lane}`,
      `SELECT 1 AS done FROM ${t.lanes} WHERE ${lane}`,
    ),
    async commit(sql, values) {
      const rows = await commit(sql, values);
      return affectedBy(rows) > 0 ? rows : [];
    },
  } satisfies Partial<MessageCommands>;
}

/** First what there is, then the runs, whose sizes are looked at before they are read. What comes or goes between the two is the next fetch's business. */
function fetching(t: Tables, lane: string): Command {
  const look = ask(
    `SELECT l.low, l."cursor", p."next", p.waiting, p.due_at, ${clock} AS now
     FROM (SELECT topic, "partition", low, "cursor" FROM ${t.lanes} WHERE ${lane}) l JOIN ${t.partitions} p ON p.topic = l.topic AND p."partition" = l."partition"`,
  );
  const place = `topic = $1 AND "partition" = $2`;
  const read = ask(
    `SELECT r."position", r."count", r.published_at, r.packed FROM (
       SELECT o."position", SUM(o."count") OVER (ORDER BY o."position") - o."count" AS count_before, SUM(o.size) OVER (ORDER BY o."position") - o.size AS bytes_before
       FROM (
         SELECT "position", "count", size FROM ${t.runs} WHERE ${place} AND "position" > $3 AND "position" - "count" < $4 ORDER BY "position" LIMIT ${runsMax}
       ) o
     ) s JOIN ${t.runs} r ON r.topic = $1 AND r."partition" = $2 AND r."position" = s."position"
     WHERE s.count_before < $5 AND s.bytes_before < $6 ORDER BY r."position"`,
  );
  return async (sql, [topic, group, partition, fence, cursor, limit, windowMax, bytesMax]) => {
    const [row] = await look(sql, topic!, group!, partition!, fence!);
    if (row === undefined) return [];
    const [low, next] = [Number(row.low), Number(row.next)];
    const from = Math.max(cursor as number, low);
    if (from >= next) return [withoutRun(row)];
    const end = Math.min(next, low + (windowMax as number));
    const runs = await read(sql, topic!, partition!, from, end, limit!, bytesMax!);
    return runs.length === 0 ? [withoutRun(row)] : runs.map((run) => ({ ...row, ...run }));
  };
}

function withoutRun(row: Row): Row {
  return { ...row, position: null };
}
