import type { Command } from "../sql.ts";

/**
 * What messages ask of their tables. A topic has a number that is never given again, partitions with the position that the next message gets (`next`) and the first one that is kept (`first`), runs of messages by
 * the position behind them, groups with a value each, and lanes with a fence, a revision and a value each.
 */
export interface MessageCommands {
  // Topics
  /** A name → id, partitions, count_max, when_full. */
  readonly find: Command;
  /** → name of each. */
  readonly names: Command;
  /** A name, how many partitions; does nothing when the topic is there. */
  readonly makeTopic: Command;
  /** A name → as `find`, locked against removal, and against whoever declares it, too. */
  readonly lockTopic: Command;
  /** A topic → one row while it is there; it cannot be removed until the end of the transaction. */
  readonly keepTopic: Command;
  /** A topic; who appends to one with a limit takes this lock first. */
  readonly lockLimit: Command;
  /** A topic, retention_ms, count_max, when_full; null: as it was. */
  readonly setTopic: Command;
  /** A topic, how many; those that are there stay as they are. */
  readonly makePartitions: Command;
  /** A topic, a note (empty: it takes messages); the partitions are locked. */
  readonly sealPartitions: Command;
  /** A name → id of what was removed. */
  readonly removeTopic: Command;
  /** A topic. */
  readonly removeGroups: Command;
  readonly removeLanes: Command;
  readonly removePartitions: Command;
  /** A topic → rows, as long as there may be more; part by part what is left of one that was removed. */
  readonly removeRest: readonly Command[];
  /** A channel, and what to tell. */
  readonly notify: Command;

  // Partitions
  /**
   * A topic, a partition → its figures as they are under its lock (`sealed` among them: the note of a topic that takes no more), and retention_ms, count_max and when_full of its topic as they were when the statement
   * began; locked.
   */
  readonly lockPartition: Command;
  /** A topic → figures of each partition, ascending; locked. */
  readonly lockPartitions: Command;
  /** → `now`. */
  readonly now: Command;
  /** A topic, producers, a partition → `now`, with producer, partition, epoch, marks of what is remembered in the partition and, under -1, anywhere. */
  readonly marks: Command;
  /** A topic, ids, an instant → id, partition, position of those that are still remembered then. */
  readonly knownIds: Command;
  /**
   * A topic, a partition; positions, counts, published_at, packed of runs; producers, partitions, epochs, marks; the instant; the partition's next, published_at, due_at, delayed; a channel (empty: none), and what to tell. Marks
   * of a higher epoch stay.
   */
  readonly append: Command;
  /**
   * A topic, a partition, its `next` and `delayed` as they must be, `next` behind the append; positions and counts of runs, where each begins within the bytes and its size; producers, epochs, marks; a channel, and what to tell; the
   * bytes of all runs. In one request, done as a whole or not at all. → A row when it was done; nothing was when the figures are others, the topic's terms (terms.ts) want a look, one of the producers has a higher epoch anywhere in
   * the topic, or it is too much for one request. When left out, the server has nothing of the kind.
   */
  readonly appendNext?: Command;
  /** A topic, a partition, ids, positions, the instant. */
  readonly addIds: Command;
  /** A topic, a partition, ids, positions: a delayed message has its position now; how long its id is remembered stays. */
  readonly placeIds: Command;
  /** A topic. */
  readonly forgetIds: Command;
  readonly forgetProducers: Command;
  /** A topic, a partition; due_at, number, id (null: none), packed. */
  readonly addDelayed: Command;
  /** A topic, a partition, an instant → due_at, number, id, packed of the first that are due by then, as far as one answer can be large; they are taken out. */
  readonly takeDue: Command;
  /** A topic, a partition → due_at of the next or null, number: the highest. */
  readonly nextDue: Command;
  /** A topic → partition, next, delayed, low: what every group has settled, of each partition. */
  readonly kept: Command;
  /** A topic, a partition → low: what every group has settled, null without groups. */
  readonly settledBelow: Command;
  /** A topic, a partition, a position, marks: what ends at the position or before goes. */
  readonly trim: Command;
  /** A topic, a partition, an instant → position, where the first run begins that was published then or later. */
  readonly runAt: Command;

  // Groups
  /** A topic → id of each ephemeral group whose end has come and that nobody else looks at; locked. */
  readonly endedGroups: Command;
  /** A topic, a name → id, state; locked. */
  readonly groupNamed: Command;
  /** A topic, a group → id, state; locked. */
  readonly group: Command;
  /** A topic, a name, a state → id; nothing when it is there. */
  readonly makeGroup: Command;
  /** A topic, a group; partitions, lows, progresses. */
  readonly makeLanes: Command;
  /** A topic, a group. */
  readonly removeGroup: Command;
  /** How many → `fence` of each, greater than all that were given before. */
  readonly fences: Command;
  /** A topic, a group, its state, when an ephemeral one ends; partitions, fences and how lanes change hands (0: not taken, 1: orderly, 2: vanished); a channel (empty: none), and what to tell. */
  readonly saveGroup: Command;

  // Lanes
  /** A topic, a group, a partition, a fence → low, cursor, suspect, revision, progress, if that is the lane's fence. */
  readonly open: Command;
  /**
   * As `open`; a cursor, how many, the window, how many bytes → low, cursor, next, waiting (0 or 1), due_at, `now` of the lane and its partition, with position, count, published_at, packed of runs behind the cursor that begin within the
   * window; one row without a position when there is none. Runs are whole, so there may be more than was asked for.
   */
  readonly fetch: Command;
  /** As `open`; a cursor → rows, if that is the lane's fence. */
  readonly setCursor: Command;
  /** A topic, a partition, a position → rows, if that is still the next: whoever appends tells it from now on. */
  readonly wait: Command;
  /** A topic, a partition → next. */
  readonly next: Command;
  /** As `open`; a revision, the new low, the new progress → rows, if fence and revision are those; the revision grows by one. */
  readonly commit: Command;
  /** A topic → group_id, partition, low, progress of all lanes, locked. */
  readonly lockLanes: Command;
  /** A topic, a group → partition, low, progress of its lanes, locked. */
  readonly lockGroupLanes: Command;
  /** A topic; groups, partitions, lows, progresses. The lanes are locked. */
  readonly moveLanes: Command;

  // Describing
  /** A topic → figures of each partition, with `settled`, what every group has settled or null, and `now`. */
  readonly describePartitions: Command;
  /**
   * A topic → retention_ms, count_max, when_full, partition, first, next, delayed, sealed, `now`, name and state of a group, progress of its lane, `oldest`, when the first message was published that the lane has not settled: one row for
   * each lane of each group, as of one instant.
   */
  readonly describe: Command;
}
