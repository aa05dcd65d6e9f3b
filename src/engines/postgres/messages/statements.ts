import type { MessageCommands } from "../../relational/messages/commands.ts";
import { takesAtOnce } from "../../relational/messages/terms.ts";
import { command } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { clock } from "../tables.ts";

/** How many runs one fetch brings at most. */
const runsMax = 256;
/** Ids are remembered for two minutes. */
const idsMs = 120_000;
/** At most so many rows are deleted at once, so that nobody waits for long. */
const deletedMax = 5_000;

export function messageStatements(t: Tables): MessageCommands {
  const statement = (name: string, text: string) => command(`${t.prefix}_m_${name}`, text);
  const lane = "topic = $1 AND group_id = $2 AND partition = $3";
  return {
    // Topics
    find: statement("find", `SELECT id, partitions, count_max, when_full FROM ${t.topics} WHERE name = $1`),
    names: statement("names", `SELECT name FROM ${t.topics}`),
    makeTopic: statement(
      "make_topic",
      `INSERT INTO ${t.topics} (name, partitions, retention_ms) VALUES ($1, $2, 0) ON CONFLICT (name) DO NOTHING`,
    ),
    /** Locked against removal, and against whoever declares it, too. */
    lockTopic: statement(
      "lock_topic",
      `SELECT id, partitions, count_max, when_full FROM ${t.topics} WHERE name = $1 FOR UPDATE`,
    ),
    keepTopic: statement("keep_topic", `SELECT partitions FROM ${t.topics} WHERE id = $1 FOR KEY SHARE`),
    lockLimit: statement("lock_limit", `SELECT count_max, when_full FROM ${t.topics} WHERE id = $1 FOR NO KEY UPDATE`),
    setTopic: statement(
      "set_topic",
      `UPDATE ${t.topics} SET retention_ms = coalesce($2, retention_ms), count_max = coalesce($3, count_max), when_full = coalesce($4, when_full) WHERE id = $1`,
    ),
    makePartitions: statement(
      "make_partitions",
      `INSERT INTO ${t.partitions} (topic, partition, next, first, published_at, waiting, delayed, marks)
       SELECT $1, n, 0, 0, 0, false, 0, ''::bytea FROM generate_series(0, $2 - 1) n ON CONFLICT DO NOTHING`,
    ),
    sealPartitions: statement(
      "seal_partitions",
      `UPDATE ${t.partitions} SET sealed = $2 WHERE topic = $1 AND sealed <> $2`,
    ),
    removeTopic: statement("remove_topic", `DELETE FROM ${t.topics} WHERE name = $1 RETURNING id`),
    removeGroups: statement("remove_groups", `DELETE FROM ${t.groups} WHERE topic = $1`),
    removeLanes: statement("remove_lanes", `DELETE FROM ${t.lanes} WHERE topic = $1`),
    removePartitions: statement("remove_partitions", `DELETE FROM ${t.partitions} WHERE topic = $1`),
    /** What is left of a topic that was removed, part by part. */
    removeRest: [t.runs, t.delayed, t.producers, t.ids].map((table) =>
      statement(
        `rest_${table}`,
        `DELETE FROM ${table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${table} WHERE topic = $1 LIMIT ${deletedMax})) RETURNING 1 AS gone`,
      ),
    ),
    notify: statement("notify", "SELECT pg_notify($1, $2)"),

    // Partitions
    lockPartition: statement(
      "lock_partition",
      `SELECT p.*, t.partitions, t.count_max, t.when_full, t.retention_ms FROM ${t.partitions} p JOIN ${t.topics} t ON t.id = p.topic
       WHERE p.topic = $1 AND p.partition = $2 FOR UPDATE OF p`,
    ),
    lockPartitions: statement(
      "lock_partitions",
      `SELECT * FROM ${t.partitions} WHERE topic = $1 ORDER BY partition FOR UPDATE`,
    ),
    now: statement("now", `SELECT ${clock} AS now`),
    /** The instant, and what is remembered of producers $2 in partition $3 and, under -1, anywhere. */
    marks: statement(
      "marks",
      `SELECT c.now, r.producer, r.partition, r.epoch, r.marks FROM (SELECT ${clock} AS now) c
       LEFT JOIN ${t.producers} r ON r.topic = $1 AND r.producer = ANY($2::bytea[]) AND r.partition IN (-1, $3)`,
    ),
    knownIds: statement(
      "known_ids",
      `SELECT id, partition, position FROM ${t.ids} WHERE topic = $1 AND id = ANY($2::bytea[]) AND at > $3::float8 - ${idsMs}`,
    ),
    /** Runs $3–$6; producers $7–$10 at $11; the partition's new figures; whom to tell. */
    append: statement(
      "append",
      `WITH r AS (
         INSERT INTO ${t.runs} (topic, partition, position, count, published_at, packed)
         SELECT $1, $2, u.* FROM unnest($3::bigint[], $4::int[], $5::float8[], $6::bytea[]) AS u (position, count, published_at, packed)
       ), q AS (
         INSERT INTO ${t.producers} (topic, producer, partition, epoch, marks, used_at)
         SELECT $1, u.producer, u.partition, u.epoch, u.marks, $11 FROM unnest($7::bytea[], $8::int[], $9::bigint[], $10::bytea[]) AS u (producer, partition, epoch, marks)
         ON CONFLICT (topic, producer, partition) DO UPDATE SET epoch = excluded.epoch, marks = excluded.marks, used_at = excluded.used_at
         WHERE ${t.producers}.epoch <= excluded.epoch
       )
       UPDATE ${t.partitions} SET next = $12, published_at = $13, due_at = $14, delayed = $15, waiting = false
       WHERE topic = $1 AND partition = $2 RETURNING CASE WHEN $16 <> '' THEN pg_notify($16, $17) END`,
    ),
    /** What is longest comes last: the client puts the values into one buffer, which it makes larger each time that a value does not fit. */
    appendNext: statement(
      "append_next",
      `WITH c AS (SELECT ${clock} AS now), p AS (
         SELECT p.waiting, greatest(p.published_at, c.now) AS published_at, c.now FROM ${t.partitions} p CROSS JOIN c
         WHERE p.topic = $1 AND p.partition = $2 AND p.next = $3 AND p.delayed = $4 AND ${takesAtOnce(t, "c.now")}
           AND NOT EXISTS (
             SELECT FROM unnest($10::bytea[], $11::bigint[]) AS u (producer, epoch)
             JOIN ${t.producers} r ON r.topic = $1 AND r.producer = u.producer AND r.partition = -1 AND r.epoch > u.epoch)
         FOR UPDATE OF p
       ), r AS (
         INSERT INTO ${t.runs} (topic, partition, position, count, published_at, packed)
         SELECT $1, $2, u.position, u.count, p.published_at, substr($15::bytea, u.start + 1, u.size)
         FROM p CROSS JOIN unnest($6::bigint[], $7::int[], $8::int[], $9::int[]) AS u (position, count, start, size)
       ), q AS (
         INSERT INTO ${t.producers} (topic, producer, partition, epoch, marks, used_at)
         SELECT $1, u.producer, $2, u.epoch, u.marks, p.now FROM p CROSS JOIN unnest($10::bytea[], $11::bigint[], $12::bytea[]) AS u (producer, epoch, marks)
         ON CONFLICT (topic, producer, partition) DO UPDATE SET epoch = excluded.epoch, marks = excluded.marks, used_at = excluded.used_at
         WHERE ${t.producers}.epoch <= excluded.epoch
       )
       UPDATE ${t.partitions} x SET next = $5, published_at = p.published_at, waiting = false FROM p
       WHERE x.topic = $1 AND x.partition = $2 RETURNING CASE WHEN p.waiting THEN pg_notify($13, $14) END`,
    ),
    addIds: statement(
      "add_ids",
      `INSERT INTO ${t.ids} (topic, id, partition, position, at)
       SELECT $1, u.id, $2, u.position, $5 FROM unnest($3::bytea[], $4::bigint[]) AS u (id, position) ORDER BY u.id
       ON CONFLICT (topic, id) DO UPDATE SET partition = excluded.partition, position = excluded.position, at = excluded.at`,
    ),
    /** A delayed message has its position now; how long its id is remembered stays. */
    placeIds: statement(
      "place_ids",
      `UPDATE ${t.ids} i SET position = u.position FROM unnest($3::bytea[], $4::bigint[]) AS u (id, position)
       WHERE i.topic = $1 AND i.id = u.id AND i.partition = $2`,
    ),
    forgetIds: statement(
      "forget_ids",
      `DELETE FROM ${t.ids} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${t.ids} WHERE topic = $1 AND at < ${clock} - ${idsMs} LIMIT ${deletedMax} FOR UPDATE SKIP LOCKED))`,
    ),
    forgetProducers: statement(
      "forget_producers",
      `DELETE FROM ${t.producers} WHERE ctid = ANY(ARRAY(SELECT ctid FROM ${t.producers} WHERE topic = $1 AND used_at < ${clock} - 604800000 LIMIT ${deletedMax} FOR UPDATE SKIP LOCKED))`,
    ),
    addDelayed: statement(
      "add_delayed",
      `INSERT INTO ${t.delayed} (topic, partition, due_at, number, id, packed)
       SELECT $1, $2, u.* FROM unnest($3::float8[], $4::bigint[], $5::bytea[], $6::bytea[]) AS u (due_at, number, id, packed)`,
    ),
    takeDue: statement(
      "take_due",
      `DELETE FROM ${t.delayed} WHERE topic = $1 AND partition = $2 AND (due_at, number) IN (
         SELECT due_at, number FROM (
           SELECT due_at, number, sum(length(packed)) OVER (ORDER BY due_at, number) - length(packed) AS before
           FROM (SELECT * FROM ${t.delayed} WHERE topic = $1 AND partition = $2 AND due_at <= $3 ORDER BY due_at, number LIMIT 1000) d
         ) e WHERE before < 4194304
       ) RETURNING due_at, number, id, packed`,
    ),
    nextDue: statement(
      "next_due",
      `SELECT min(due_at) AS due_at, (SELECT coalesce(max(number), 0) FROM ${t.delayed} WHERE topic = $1 AND partition = $2) AS number FROM ${t.delayed} WHERE topic = $1 AND partition = $2`,
    ),
    /** Of each partition, what not every group has settled. */
    kept: statement(
      "kept",
      `SELECT p.partition, p.next, p.delayed, coalesce((SELECT min(low) FROM ${t.lanes} l WHERE l.topic = $1 AND l.partition = p.partition), p.next) AS low
       FROM ${t.partitions} p WHERE p.topic = $1 ORDER BY p.partition`,
    ),
    settledBelow: statement(
      "settled_below",
      `SELECT min(low) AS low FROM ${t.lanes} WHERE topic = $1 AND partition = $2`,
    ),
    trim: statement(
      "trim",
      `WITH gone AS (
         DELETE FROM ${t.runs} WHERE topic = $1 AND partition = $2 AND position <= $3 AND position IN (
           SELECT position FROM ${t.runs} WHERE topic = $1 AND partition = $2 AND position <= $3 ORDER BY position LIMIT ${deletedMax})
       ) UPDATE ${t.partitions} SET first = greatest(first, $3), marks = $4 WHERE topic = $1 AND partition = $2`,
    ),
    runAt: statement(
      "run_at",
      `SELECT position - count AS position FROM ${t.runs} WHERE topic = $1 AND partition = $2 AND published_at >= $3 ORDER BY position LIMIT 1`,
    ),

    // Groups
    endedGroups: statement(
      "ended_groups",
      `SELECT id FROM ${t.groups} WHERE topic = $1 AND ends_at <= ${clock} ORDER BY id FOR UPDATE SKIP LOCKED`,
    ),
    groupNamed: statement("group_named", `SELECT id, state FROM ${t.groups} WHERE topic = $1 AND name = $2 FOR UPDATE`),
    group: statement("group", `SELECT id, state FROM ${t.groups} WHERE topic = $1 AND id = $2 FOR UPDATE`),
    makeGroup: statement(
      "make_group",
      `INSERT INTO ${t.groups} (topic, name, state) VALUES ($1, $2, $3) ON CONFLICT (topic, name) DO NOTHING RETURNING id`,
    ),
    makeLanes: statement(
      "make_lanes",
      `INSERT INTO ${t.lanes} (topic, group_id, partition, fence, revision, low, cursor, suspect, progress)
       SELECT $1, $2, u.partition, 0, 0, u.low, 0, 0, u.progress FROM unnest($3::int[], $4::bigint[], $5::bytea[]) AS u (partition, low, progress)`,
    ),
    removeGroup: statement(
      "remove_group",
      `WITH l AS (DELETE FROM ${t.lanes} WHERE topic = $1 AND group_id = $2) DELETE FROM ${t.groups} WHERE topic = $1 AND id = $2`,
    ),
    fences: statement("fences", `SELECT nextval('${t.fences}') AS fence FROM generate_series(1, $1)`),
    /** The state, when an ephemeral one ends, how lanes change hands (0: not taken, 1: orderly, 2: vanished), whom to tell. */
    saveGroup: statement(
      "save_group",
      `WITH g AS (UPDATE ${t.groups} SET state = $3, ends_at = $4 WHERE topic = $1 AND id = $2), l AS (
         UPDATE ${t.lanes} l SET fence = u.fence, cursor = CASE WHEN u.taken > 0 THEN 0 ELSE l.cursor END,
           suspect = CASE u.taken WHEN 1 THEN 0 WHEN 2 THEN greatest(l.suspect, l.cursor) ELSE l.suspect END
         FROM unnest($5::int[], $6::bigint[], $7::int[]) AS u (partition, fence, taken)
         WHERE l.topic = $1 AND l.group_id = $2 AND l.partition = u.partition
       ) SELECT CASE WHEN $8 <> '' THEN pg_notify($8, $9) END`,
    ),

    // Lanes
    open: statement(
      "open",
      `SELECT low, cursor, suspect, revision, progress FROM ${t.lanes} WHERE ${lane} AND fence = $4`,
    ),
    fetch: statement(
      "fetch",
      `SELECT l.low, l.cursor, p.next, p.waiting, p.due_at, ${clock} AS now, r.*
       FROM ${t.lanes} l JOIN ${t.partitions} p ON p.topic = l.topic AND p.partition = l.partition
       LEFT JOIN LATERAL (
         SELECT position, count, published_at, packed, sum(count) OVER (ORDER BY position) - count AS before,
           sum(length(packed)) OVER (ORDER BY position) - length(packed) AS bytes_before
         FROM (
           SELECT * FROM ${t.runs} WHERE topic = $1 AND partition = $3 AND position > greatest($5, l.low)
             AND position - count < least(p.next, l.low + $7) ORDER BY position LIMIT ${runsMax}
         ) o
       ) r ON r.before < $6 AND r.bytes_before < $8
       WHERE l.topic = $1 AND l.group_id = $2 AND l.partition = $3 AND l.fence = $4 ORDER BY r.position`,
    ),
    setCursor: statement(
      "set_cursor",
      `UPDATE ${t.lanes} SET cursor = greatest(cursor, $5) WHERE ${lane} AND fence = $4 RETURNING 1 AS done`,
    ),
    /** That somebody waits need not survive a crash, which wakes everybody: the server commits it, and this transaction alone, without a sync. */
    wait: statement(
      "wait",
      `UPDATE ${t.partitions} SET waiting = true WHERE topic = $1 AND partition = $2 AND next = $3
       RETURNING set_config('synchronous_commit', 'off', true) AS done`,
    ),
    next: statement("next", `SELECT next FROM ${t.partitions} WHERE topic = $1 AND partition = $2`),
    commit: statement(
      "commit",
      `UPDATE ${t.lanes} SET low = $6, progress = $7, revision = revision + 1 WHERE ${lane} AND fence = $4 AND revision = $5 RETURNING 1 AS done`,
    ),
    lockLanes: statement(
      "lock_lanes",
      `SELECT group_id, partition, low, progress FROM ${t.lanes} WHERE topic = $1 ORDER BY group_id, partition FOR UPDATE`,
    ),
    lockGroupLanes: statement(
      "lock_group_lanes",
      `SELECT partition, low, progress FROM ${t.lanes} WHERE topic = $1 AND group_id = $2 ORDER BY partition FOR UPDATE`,
    ),
    moveLanes: statement(
      "move_lanes",
      `UPDATE ${t.lanes} l SET low = u.low, progress = u.progress, revision = revision + 1
       FROM unnest($2::bigint[], $3::int[], $4::bigint[], $5::bytea[]) AS u (group_id, partition, low, progress)
       WHERE l.topic = $1 AND l.group_id = u.group_id AND l.partition = u.partition`,
    ),

    // Describing
    describePartitions: statement(
      "describe_partitions",
      `SELECT p.*, l.settled, ${clock} AS now FROM ${t.partitions} p
       LEFT JOIN (SELECT partition, min(low) AS settled FROM ${t.lanes} WHERE topic = $1 GROUP BY partition) l ON l.partition = p.partition
       WHERE p.topic = $1 ORDER BY p.partition`,
    ),
    /** One row for each lane of each group, as of one instant. */
    describe: statement(
      "describe",
      `SELECT t.retention_ms, t.count_max, t.when_full, p.partition, p.first, p.next, p.delayed, p.sealed, ${clock} AS now,
         g.name, g.state, l.progress, (
           SELECT published_at FROM ${t.runs} r WHERE r.topic = $1 AND r.partition = p.partition AND r.position > l.low ORDER BY r.position LIMIT 1
         ) AS oldest
       FROM ${t.topics} t JOIN ${t.partitions} p ON p.topic = t.id LEFT JOIN ${t.groups} g ON g.topic = t.id
       LEFT JOIN ${t.lanes} l ON l.topic = t.id AND l.group_id = g.id AND l.partition = p.partition
       WHERE t.id = $1 ORDER BY p.partition, g.id`,
    ),
  };
}
