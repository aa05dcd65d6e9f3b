import type { MessageCommands } from "../../relational/messages/commands.ts";
import type { Command } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { ask, drawing, insertion, rowsOf, zip } from "../commands.ts";
import type { Done } from "../mysql-wire.ts";
import type { Notices } from "../notices.ts";
import { isDuplicate } from "../server-failures.ts";
import { clock } from "../tables.ts";

const laneColumns = `topic, group_id, "partition", fence, revision, low, "cursor", suspect, progress`;

export function groupCommands(t: Tables, notices: Notices) {
  const draw = drawing(t.fences, clock);
  return {
    endedGroups: rowsOf(
      `SELECT id FROM ${t.groups} WHERE topic = $1 AND ends_at <= ${clock} ORDER BY id FOR UPDATE SKIP LOCKED`,
    ),
    groupNamed: rowsOf(`SELECT id, state FROM ${t.groups} WHERE topic = $1 AND name = $2 FOR UPDATE`),
    group: rowsOf(`SELECT id, state FROM ${t.groups} WHERE topic = $1 AND id = $2 FOR UPDATE`),
    makeGroup: makingGroup(t),
    makeLanes: makingLanes(t),
    removeGroup: removingGroup(t),
    fences: async (sql, [count]) => (await draw(sql, count as number)).map((row) => ({ fence: row.number })),
    saveGroup: savingGroup(t, notices),
    lockLanes: rowsOf(
      `SELECT group_id, "partition", low, progress FROM ${t.lanes} WHERE topic = $1 ORDER BY group_id, "partition" FOR UPDATE`,
    ),
    lockGroupLanes: rowsOf(
      `SELECT "partition", low, progress FROM ${t.lanes} WHERE topic = $1 AND group_id = $2 ORDER BY "partition" FOR UPDATE`,
    ),
    moveLanes: movingLanes(t),
  } satisfies Partial<MessageCommands>;
}

function makingGroup(t: Tables): Command {
  const make = ask(`INSERT INTO ${t.groups} (topic, name, state) VALUES ($1, $2, $3)`);
  return async (sql, values) => {
    try {
      const [done] = await make(sql, ...values);
      return [{ id: (done as Done).inserted }];
    } catch (error) {
      if (isDuplicate(error)) return [];
      throw error;
    }
  };
}

function makingLanes(t: Tables): Command {
  const make = insertion(`INSERT INTO ${t.lanes} (${laneColumns}) VALUES $1`);
  return async (sql, [topic, group, partitions, lows, progresses]) => {
    const rows = zip(partitions!, lows!, progresses!);
    await make(
      sql,
      rows.map(([partition, low, progress]) => [topic!, group!, partition!, 0, 0, low!, 0, 0, progress!]),
    );
    return [];
  };
}

function removingGroup(t: Tables): Command {
  const removeLanes = ask(`DELETE FROM ${t.lanes} WHERE topic = $1 AND group_id = $2`);
  const remove = ask(`DELETE FROM ${t.groups} WHERE topic = $1 AND id = $2`);
  return async (sql, [topic, group]) => {
    await removeLanes(sql, topic!, group!);
    await remove(sql, topic!, group!);
    return [];
  };
}

/** Changes many lanes by one statement: the rows are there, so that none is inserted. Assignments are made from left to right; how a lane changes hands comes in the place of `suspect`. */
function savingGroup(t: Tables, notices: Notices): Command {
  const save = ask(`UPDATE ${t.groups} SET state = $3, ends_at = $4 WHERE topic = $1 AND id = $2`);
  const turn = insertion(
    `INSERT INTO ${t.lanes} (${laneColumns}) VALUES $1 ON DUPLICATE KEY UPDATE fence = VALUES(fence),
       suspect = CASE VALUES(suspect) WHEN 1 THEN 0 WHEN 2 THEN GREATEST(suspect, "cursor") ELSE suspect END,
       "cursor" = IF(VALUES(suspect) > 0, 0, "cursor")`,
  );
  return async (sql, [topic, group, state, endsAt, partitions, fences, taken, channel, payload]) => {
    await save(sql, topic!, group!, state!, endsAt!);
    const turns = zip(partitions!, fences!, taken!);
    await turn(
      sql,
      turns.map(([partition, fence, how]) => [topic!, group!, partition!, fence!, 0, 0, 0, how!, Buffer.alloc(0)]),
    );
    if (channel !== "") await notices.tell(sql, [[channel as string, payload as string]]);
    return [];
  };
}

function movingLanes(t: Tables): Command {
  const move = insertion(
    `INSERT INTO ${t.lanes} (${laneColumns}) VALUES $1 ON DUPLICATE KEY UPDATE low = VALUES(low), progress = VALUES(progress), revision = revision + 1`,
  );
  return async (sql, [topic, groups, partitions, lows, progresses]) => {
    const rows = zip(groups!, partitions!, lows!, progresses!);
    await move(
      sql,
      rows.map(([group, partition, low, progress]) => [topic!, group!, partition!, 0, 0, low!, 0, 0, progress!]),
    );
    return [];
  };
}
