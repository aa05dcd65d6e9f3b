import type { MessageCommands } from "../../relational/messages/commands.ts";
import type { Tables } from "../../relational/tables.ts";
import { affectedBy, ask, change, insertion, rowsOf } from "../commands.ts";
import type { Notices } from "../notices.ts";
import { clock } from "../tables.ts";

/** At most so many rows are deleted at once, so that nobody waits for long. */
const deletedMax = 5_000;

export function topicCommands(t: Tables, notices: Notices) {
  const settings = "id, partitions, count_max, when_full";
  return {
    find: rowsOf(`SELECT ${settings} FROM ${t.topics} WHERE name = $1`),
    names: rowsOf(`SELECT name FROM ${t.topics}`),
    ...makingTopics(t),
    lockTopic: rowsOf(`SELECT ${settings} FROM ${t.topics} WHERE name = $1 FOR UPDATE`),
    keepTopic: rowsOf(`SELECT partitions FROM ${t.topics} WHERE id = $1 LOCK IN SHARE MODE`),
    lockLimit: rowsOf(`SELECT count_max, when_full FROM ${t.topics} WHERE id = $1 FOR UPDATE`),
    setTopic: change(
      `UPDATE ${t.topics} SET retention_ms = COALESCE($2, retention_ms), count_max = COALESCE($3, count_max), when_full = COALESCE($4, when_full) WHERE id = $1`,
    ),
    sealPartitions: change(`UPDATE ${t.partitions} SET sealed = $2 WHERE topic = $1`),
    ...removingTopics(t),
    async notify(sql, [channel, payload]) {
      await notices.tell(sql, [[channel as string, payload as string]]);
      return [];
    },
    describePartitions: rowsOf(
      `SELECT p.*, l.settled, ${clock} AS now FROM ${t.partitions} p
       LEFT JOIN (SELECT "partition", MIN(low) AS settled FROM ${t.lanes} WHERE topic = $1 GROUP BY "partition") l ON l."partition" = p."partition"
       WHERE p.topic = $1 ORDER BY p."partition"`,
    ),
    describe: rowsOf(
      `SELECT t.retention_ms, t.count_max, t.when_full, p."partition", p."first", p."next", p."delayed", p.sealed, ${clock} AS now,
         g.name, g.state, l.progress, (
           SELECT published_at FROM ${t.runs} r WHERE r.topic = $1 AND r."partition" = p."partition" AND r."position" > l.low ORDER BY r."position" LIMIT 1
         ) AS oldest
       FROM ${t.topics} t JOIN ${t.partitions} p ON p.topic = t.id LEFT JOIN ${t.groups} g ON g.topic = t.id
       LEFT JOIN ${t.lanes} l ON l.topic = t.id AND l.group_id = g.id AND l."partition" = p."partition"
       WHERE t.id = $1 ORDER BY p."partition", g.id`,
    ),
  } satisfies Partial<MessageCommands>;
}

function makingTopics(t: Tables) {
  const find = ask(`SELECT id FROM ${t.topics} WHERE name = $1 FOR UPDATE`);
  const make = ask(
    `INSERT INTO ${t.topics} (name, partitions, retention_ms) VALUES ($1, $2, 0) ON DUPLICATE KEY UPDATE name = VALUES(name)`,
  );
  const count = ask(`SELECT COUNT(*) AS count FROM ${t.partitions} WHERE topic = $1`);
  const makePartitions = insertion(
    `INSERT INTO ${t.partitions} (topic, "partition", "next", "first", published_at, waiting, "delayed", marks) VALUES $1 ON DUPLICATE KEY UPDATE topic = VALUES(topic)`,
  );
  return {
    // A try to make one that is there would use up a number.
    async makeTopic(sql, [name, partitions]) {
      if ((await find(sql, name!)).length === 0) await make(sql, name!, partitions!);
      return [];
    },
    async makePartitions(sql, [topic, partitions]) {
      const [row] = await count(sql, topic!);
      if (row!.count === partitions) return [];
      const rows = Array.from({ length: partitions as number }, (_, partition) => {
        return [topic!, partition, 0, 0, 0, false, 0, Buffer.alloc(0)];
      });
      await makePartitions(sql, rows);
      return [];
    },
  } satisfies Partial<MessageCommands>;
}

function removingTopics(t: Tables) {
  const lock = ask(`SELECT id FROM ${t.topics} WHERE name = $1 FOR UPDATE`);
  const remove = ask(`DELETE FROM ${t.topics} WHERE id = $1`);
  return {
    async removeTopic(sql, [name]) {
      const rows = await lock(sql, name!);
      if (rows.length > 0) await remove(sql, rows[0]!.id as number);
      return rows;
    },
    removeGroups: change(`DELETE FROM ${t.groups} WHERE topic = $1`),
    removeLanes: change(`DELETE FROM ${t.lanes} WHERE topic = $1`),
    removePartitions: change(`DELETE FROM ${t.partitions} WHERE topic = $1`),
    removeRest: [t.runs, t.delayed, t.producers, t.ids].map((table) => {
      const removeSome = ask(`DELETE FROM ${table} WHERE topic = $1 LIMIT ${deletedMax}`);
      return async (sql, [topic]) => {
        const rows = await removeSome(sql, topic!);
        return affectedBy(rows) > 0 ? rows : [];
      };
    }),
  } satisfies Partial<MessageCommands>;
}
