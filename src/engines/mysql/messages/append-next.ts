import { takesAtOnce } from "../../relational/messages/terms.ts";
import type { Command, Parameter } from "../../relational/sql.ts";
import type { Tables } from "../../relational/tables.ts";
import { requestBytes, zip } from "../commands.ts";
import { carryOut } from "../compounds.ts";
import type { Notices } from "../notices.ts";
import { clock, noticesOf } from "../tables.ts";

/**
 * An append that finds what it expects, as one block; otherwise it is seven statements. It takes its locks in the order in which those take them. The block with one run and one producer is nearly every append, and is prepared; that
 * and the bytes that need not be digits then make it cost the server half.
 */
export function appendingNext(t: Tables, notices: Notices): Command {
  return async (sql, values) => {
    const [topic, partition, next, delayed, end, positions, counts, starts, sizes, ...more] = values;
    const [producers, epochs, marks, channel, payload, packed] = more;
    const bytes = packed as Buffer;
    if (bytes.length > requestBytes) return [];
    const runs = zip(positions!, counts!, starts!, sizes!).map(([position, count, start, size]) => {
      return [position!, count!, size!, bytes.subarray(start as number, (start as number) + (size as number))];
    });
    // In one order, as the same producers may write to other partitions, too.
    const marked = zip(producers!, epochs!, marks!).toSorted(([one], [other]) =>
      Buffer.compare(one as Buffer, other as Buffer),
    );
    const given = [topic, partition, next, delayed, end, channel, payload] as readonly Parameter[];
    const block = {
      text: blockOf(t, given.length, runs.length, marked.length),
      isPrepared: runs.length === 1 && marked.length === 1,
    };
    const [row] = await carryOut(sql, block, [...given, ...runs.flat(), ...marked.flat()]);
    const waits = row!.waits as Buffer | null;
    if (waits === null) return [];
    if (waits.toString() === "1") notices.note(sql);
    return [row!];
  };
}

/** Behind the values that each append has come four of each run, and then three of each producer. Names that begin with `the_` are no columns'. */
function blockOf(t: Tables, given: number, runs: number, producers: number): string {
  const run = (index: number) => {
    const [position, count, size, packed] = places(given + 4 * index, 4);
    return `(the_topic, the_partition, ${position}, ${count}, the_instant, ${size}, ${packed})`;
  };
  // Declared, so that a value is of its column's type however the client sends it: the server looks for nothing else by a key.
  const declared = list(producers, (index) => {
    const [id, epoch] = places(given + 4 * runs + 3 * index, 3);
    return `DECLARE the_producer_${index} VARBINARY(255) DEFAULT ${id}; DECLARE the_epoch_${index} BIGINT DEFAULT ${epoch};`;
  });
  const fenced = list(producers, (index) => `r.producer = the_producer_${index} AND r.epoch > the_epoch_${index}`);
  const marks = list(producers, (index) => {
    const [, , marks] = places(given + 4 * runs + 3 * index, 3);
    return `(the_topic, the_producer_${index}, the_partition, the_epoch_${index}, ${marks}, the_now)`;
  });
  const kept = (column: string) => `${column} = IF(epoch <= VALUES(epoch), VALUES(${column}), ${column})`;
  const fence = `AND NOT EXISTS (SELECT 1 FROM ${t.producers} r WHERE r.topic = the_topic AND r."partition" = -1 AND (${fenced.join(" OR ")}))`;
  const mark = `INSERT INTO ${t.producers} (topic, producer, "partition", epoch, marks, used_at) VALUES ${marks.join(", ")}
    ON DUPLICATE KEY UPDATE ${kept("marks")}, ${kept("used_at")}, epoch = GREATEST(epoch, VALUES(epoch));`;
  return `
  DECLARE the_topic BIGINT DEFAULT $1;
  DECLARE the_partition INT DEFAULT $2;
  ${declared.join("\n  ")}
  DECLARE the_now, the_instant DOUBLE DEFAULT ${clock};
  DECLARE waits TINYINT;
  START TRANSACTION;
  SELECT GREATEST(p.published_at, the_now), p.waiting INTO the_instant, waits FROM ${t.partitions} p
  WHERE p.topic = the_topic AND p."partition" = the_partition AND p."next" = $3 AND p."delayed" = $4 AND ${takesAtOnce(t, "the_now")}
    ${producers === 0 ? "" : fence}
  FOR UPDATE;
  IF waits IS NOT NULL THEN
    INSERT INTO ${t.runs} (topic, "partition", "position", "count", published_at, size, packed) VALUES ${list(runs, run).join(", ")};
    ${producers === 0 ? "" : mark}
    UPDATE ${t.partitions} SET "next" = $5, published_at = the_instant, waiting = 0 WHERE topic = the_topic AND "partition" = the_partition;
    IF waits THEN INSERT INTO ${noticesOf(t)} (channel, payload) VALUES ($6, $7); END IF;
  END IF;
  COMMIT;
  SELECT CAST(waits AS CHAR) AS waits;`;
}

function list<T>(length: number, each: (index: number) => T): readonly T[] {
  return Array.from({ length }, (_, index) => each(index));
}

/** `$…` of the values behind those before. */
function places(before: number, count: number): readonly string[] {
  return list(count, (index) => `$${before + index + 1}`);
}
