import type { MessageCommands } from "../../relational/messages/commands.ts";
import type { Command, Parameter, Sql } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { ask, change, insertion, rowsInParts, rowsOf, sweeping, zip } from "../commands.ts";
import type { Notices } from "../notices.ts";
import { clock } from "../tables.ts";

/** Ids are remembered for two minutes, producers for a week. */
const idsMs = 120_000;
const producersMs = 604_800_000;
/** At most so many rows are deleted at once, so that nobody waits for long. */
const deletedMax = 5_000;
/** What is due comes in such parts. */
const dueRowsMax = 1_000;
const dueBytesMax = 4 * 1024 * 1024;

export function partitionCommands(t: Tables, notices: Notices) {
  const topicsOwn = (column: string) =>
    `(SELECT ${column} FROM ${t.topics} WHERE ${t.topics}.id = p.topic) AS ${column}`;
  return {
    // The topic's row is read without a lock: not every server can say of which table a row is to be locked.
    lockPartition: rowsOf(
      `SELECT p.*, ${["count_max", "when_full", "retention_ms"].map(topicsOwn).join(", ")} FROM ${t.partitions} p WHERE p.topic = $1 AND p."partition" = $2 FOR UPDATE`,
    ),
    lockPartitions: rowsOf(`SELECT * FROM ${t.partitions} WHERE topic = $1 ORDER BY "partition" FOR UPDATE`),
    now: rowsOf(`SELECT ${clock} AS now`),
    marks: rowsInParts(
      `SELECT c.now, r.producer, r."partition", r.epoch, r.marks FROM (SELECT ${clock} AS now) c
       LEFT JOIN ${t.producers} r ON r.topic = $1 AND r.producer IN ($2) AND r."partition" IN (-1, $3)`,
      2,
    ),
    knownIds: rowsInParts(
      `SELECT id, "partition", "position" FROM ${t.ids} WHERE topic = $1 AND id IN ($2) AND at > $3 - ${idsMs}`,
      2,
    ),
    append: appending(t, notices),
    addIds: addingIds(t),
    placeIds: placingIds(t),
    forgetIds: forgetting(t.ids, "id", `topic = $1 AND at < ${clock} - ${idsMs}`),
    forgetProducers: forgetting(t.producers, "producer", `topic = $1 AND used_at < ${clock} - ${producersMs}`),
    addDelayed: addingDelayed(t),
    takeDue: takingDue(t),
    nextDue: rowsOf(
      `SELECT MIN(due_at) AS due_at, COALESCE(MAX("number"), 0) AS "number" FROM ${t.delayed} WHERE topic = $1 AND "partition" = $2`,
    ),
    kept: rowsOf(
      `SELECT p."partition", p."next", p."delayed", COALESCE((SELECT MIN(low) FROM ${t.lanes} l WHERE l.topic = $1 AND l."partition" = p."partition"), p."next") AS low
       FROM ${t.partitions} p WHERE p.topic = $1 ORDER BY p."partition"`,
    ),
    settledBelow: rowsOf(`SELECT MIN(low) AS low FROM ${t.lanes} WHERE topic = $1 AND "partition" = $2`),
    trim: trimming(t),
    runAt: rowsOf(
      `SELECT "position" - "count" AS "position" FROM ${t.runs} WHERE topic = $1 AND "partition" = $2 AND published_at >= $3 ORDER BY "position" LIMIT 1`,
    ),
    wait: waiting(t),
    next: rowsOf(`SELECT "next" FROM ${t.partitions} WHERE topic = $1 AND "partition" = $2`),
  } satisfies Partial<MessageCommands>;
}

/** Nobody waits that is told. */
function waiting(t: Tables): Command {
  const wait = ask(`UPDATE ${t.partitions} SET waiting = 1 WHERE topic = $1 AND "partition" = $2 AND "next" = $3`);
  const look = ask(
    `SELECT 1 AS done FROM ${t.partitions} WHERE topic = $1 AND "partition" = $2 AND "next" = $3 AND waiting = 1`,
  );
  return async (sql, [topic, partition, next]) => {
    await wait(sql, topic!, partition!, next!);
    return look(sql, topic!, partition!, next!);
  };
}

function appending(t: Tables, notices: Notices): Command {
  const addRuns = insertion(
    `INSERT INTO ${t.runs} (topic, "partition", "position", "count", published_at, packed, size) VALUES $1`,
  );
  // Assignments are made from left to right.
  const kept = (column: string) => `${column} = IF(epoch <= VALUES(epoch), VALUES(${column}), ${column})`;
  const mark = insertion(
    `INSERT INTO ${t.producers} (topic, producer, "partition", epoch, marks, used_at) VALUES $1 ON DUPLICATE KEY UPDATE
       ${kept("marks")}, ${kept("used_at")}, epoch = GREATEST(epoch, VALUES(epoch))`,
  );
  const update = ask(
    `UPDATE ${t.partitions} SET "next" = $3, published_at = $4, due_at = $5, "delayed" = $6, waiting = 0 WHERE topic = $1 AND "partition" = $2`,
  );
  return async (sql, values) => {
    const [topic, partition, positions, counts, published, packed, ...more] = values as Parameter[];
    const [producers, partitions, epochs, marks, now, next, publishedAt, dueAt, delayed, channel, payload] = more;
    const runs = zip(positions!, counts!, published!, packed!);
    await addRuns(
      sql,
      runs.map((run) => [topic!, partition!, ...run, (run.at(-1) as Uint8Array).length]),
    );
    // In one order, as the same producers may write to other partitions, too.
    const rows = zip(producers!, partitions!, epochs!, marks!).toSorted(([one], [other]) =>
      Buffer.compare(one as Buffer, other as Buffer),
    );
    await mark(
      sql,
      rows.map((row) => [topic!, ...row, now!]),
    );
    await update(sql, topic!, partition!, next!, publishedAt!, dueAt!, delayed!);
    if (channel !== "") await notices.tell(sql, [[channel as string, payload as string]]);
    return [];
  };
}

function addingIds(t: Tables): Command {
  const add = insertion(
    `INSERT INTO ${t.ids} (topic, id, "partition", "position", at) VALUES $1 ON DUPLICATE KEY UPDATE
       "partition" = VALUES("partition"), "position" = VALUES("position"), at = VALUES(at)`,
  );
  return async (sql, [topic, partition, ids, positions, now]) => {
    const rows = zip(ids!, positions!).toSorted(([one], [other]) => Buffer.compare(one as Buffer, other as Buffer));
    await add(
      sql,
      rows.map(([id, position]) => [topic!, id!, partition!, position!, now!]),
    );
    return [];
  };
}

/** So many in one statement. */
const placedMax = 100;

function placingIds(t: Tables): Command {
  return async (sql, [topic, partition, ids, positions]) => {
    const rows = zip(ids!, positions!).toSorted(([one], [other]) => Buffer.compare(one as Buffer, other as Buffer));
    for (let at = 0; at < rows.length; at += placedMax) {
      const some = rows.slice(at, at + placedMax);
      const cases = some.map((_, index) => `WHEN $${2 * index + 4} THEN $${2 * index + 5}`).join(" ");
      const place = ask(
        `UPDATE ${t.ids} SET "position" = CASE id ${cases} ELSE "position" END WHERE topic = $1 AND "partition" = $2 AND id IN ($3)`,
      );
      await place(
        sql,
        topic!,
        partition!,
        some.map(([id]) => id!),
        ...some.flat(),
      );
    }
    return [];
  };
}

function forgetting(table: string, key: string, where: string): Command {
  const sweep = sweeping(table, key, where, deletedMax);
  return (sql, [topic]) => sweep(sql, topic!);
}

function addingDelayed(t: Tables): Command {
  const add = insertion(`INSERT INTO ${t.delayed} (topic, "partition", due_at, "number", id, packed, size) VALUES $1`);
  return async (sql, [topic, partition, dueAt, numbers, ids, packed]) => {
    const rows = zip(dueAt!, numbers!, ids!, packed!);
    await add(
      sql,
      rows.map((row) => [topic!, partition!, ...row, (row.at(-1) as Uint8Array).length]),
    );
    return [];
  };
}

/** Under the partition's lock, so that what is read is what is deleted. */
function takingDue(t: Tables): Command {
  const place = `topic = $1 AND "partition" = $2`;
  const look = ask(
    `SELECT due_at, "number", size FROM ${t.delayed} WHERE ${place} AND due_at <= $3 ORDER BY due_at, "number" LIMIT ${dueRowsMax}`,
  );
  const upTo = `${place} AND (due_at < $3 OR (due_at = $3 AND "number" <= $4))`;
  const read = ask(`SELECT due_at, "number", id, packed FROM ${t.delayed} WHERE ${upTo} ORDER BY due_at, "number"`);
  const remove = ask(`DELETE FROM ${t.delayed} WHERE ${upTo}`);
  return async (sql: Sql, [topic, partition, now]) => {
    const due = await look(sql, topic!, partition!, now!);
    let bytes = 0;
    let last = due[0];
    for (const row of due) {
      if (bytes >= dueBytesMax) break;
      bytes += row.size as number;
      last = row;
    }
    if (last === undefined) return [];
    const end = [topic!, partition!, last.due_at as number, last.number as number] as const;
    const taken = await read(sql, ...end);
    await remove(sql, ...end);
    return taken;
  };
}

function trimming(t: Tables): Command {
  const place = `topic = $1 AND "partition" = $2`;
  const remove = ask(
    `DELETE FROM ${t.runs} WHERE ${place} AND "position" <= $3 ORDER BY "position" LIMIT ${deletedMax}`,
  );
  const update = change(`UPDATE ${t.partitions} SET "first" = GREATEST("first", $3), marks = $4 WHERE ${place}`);
  return async (sql, values) => {
    await remove(sql, ...values.slice(0, 3));
    return update(sql, values);
  };
}
