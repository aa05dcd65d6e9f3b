import assert from "node:assert/strict";
import { test } from "node:test";
import { JournalState } from "./journal-state.ts";
import type { CommittedCommand, DeclareLogCommand } from "./log-commands.ts";
import type { Results } from "./results.ts";

const declaring: DeclareLogCommand = {
  kind: "declareLog",
  name: "clicks",
  kafkaName: "tenon_log.clicks",
  kafkaId: "id-1",
  partitions: 2,
  retentionMs: null,
  retentionBytes: null,
};

function stateWithLog(): JournalState {
  const state = new JournalState();
  assert.deepEqual(state.apply(declaring, 1_000), { log: 1 });
  return state;
}

/** As whoever comes new reads it. */
const again = (state: JournalState) => JournalState.decode(state.encode());

const standing = (position: number, sequence = position): CommittedCommand => ({
  kind: "committed",
  writer: "writer",
  positions: [[1, 0, "reader", position]],
  sequences: [[1, 1, sequence]],
});

function open(state: JournalState, kafkaId: string, kafkaEpoch: number, epoch: number | null = null) {
  return state.apply({ kind: "writer", name: "writer", kafkaId, kafkaEpoch, epoch }, 1_000) as Results["writer"];
}

test("what a commit says counts when its transaction is committed, and never when it is given up", () => {
  let state = stateWithLog();
  state.hold("7", standing(3));
  state.hold("8", standing(5));
  state = again(state);
  assert.deepEqual([state.isUndecided(1, "reader"), state.isUndecided(1, "another")], [true, false]);
  assert.deepEqual(state.takeNews(), []);
  state.decide("8", false, 1_000);
  assert.deepEqual(state.takeNews(), [{ topic: 1 }]);
  assert.equal(state.logs.named("clicks")!.positions("reader").size, 0);
  state.decide("7", true, 1_000);
  state = again(state);
  assert.equal(state.isUndecided(1, "reader"), false);
  const log = state.logs.named("clicks")!;
  assert.deepEqual([log.positions("reader").get(0), log.sequence("writer", 1), log.sequence("writer", 0)], [3, 3, -1]);
  state.apply(standing(1), 1_000);
  assert.deepEqual([log.positions("reader").get(0), log.sequence("writer", 1)], [1, 3], "back, but not its sequences");
  state.apply({ kind: "forget", log: 1, reader: "reader" }, 1_000);
  assert.equal(log.positions("reader").size, 0);
});

test("a log that was removed leaves nothing for its successor", () => {
  let state = stateWithLog();
  state.apply(standing(3), 1_000);
  state.hold("7", standing(4));
  const { kafkaName, kafkaId } = declaring;
  assert.deepEqual(state.apply({ kind: "removeLog", name: "clicks" }, 1_000), { kafkaName, kafkaId });
  assert.equal(state.apply({ kind: "removeLog", name: "clicks" }, 1_000), undefined);
  assert.deepEqual(state.apply(declaring, 1_000), { refused: "removed" }, "Kafka is still deleting it");
  assert.deepEqual(state.apply({ ...declaring, kafkaId: "id-2" }, 1_000), { log: 2 });
  state.decide("7", true, 1_000);
  state = again(state);
  assert.deepEqual([...state.logs.named("clicks")!.positions("reader")], []);
  assert.equal(state.logs.named("clicks")!.sequence("writer", 1), -1);
});

test("a log and a topic cannot have the same topic of Kafka's", () => {
  const state = stateWithLog();
  assert.deepEqual(state.apply({ ...declaring, name: "other" }, 1_000), { refused: "other" });
  assert.equal(state.isTaken("tenon_log.clicks"), true);
  assert.deepEqual(state.apply({ ...declaring, partitions: 3 }, 1_000), { refused: "partitions", partitions: 2 });
});

test("epochs of a writer only grow, also where Kafka counts anew", () => {
  let state = new JournalState();
  assert.deepEqual(open(state, "7", 0), { epoch: 1 });
  assert.deepEqual(open(state, "7", 1), { epoch: 2 });
  assert.deepEqual(open(state, "7", 32_766), { epoch: 3 });
  state = again(state);
  assert.deepEqual(open(state, "5", 0), { epoch: 4 }, "another number, smaller or not");
  assert.deepEqual(open(state, "5", 1), { epoch: 5 });
});

test("an opening that Kafka fenced before it was written down has to be made again", () => {
  const state = new JournalState();
  assert.deepEqual(open(state, "7", 2), { epoch: 1 });
  assert.deepEqual(open(state, "7", 1), { refused: "superseded" });
  assert.deepEqual(open(state, "7", 3), { epoch: 2 });
  assert.deepEqual(open(state, "5", 0), { epoch: 3 });
  assert.deepEqual(open(again(state), "7", 4), { refused: "superseded" });
});

test("whoever goes on with a writer does so under its epoch, unless it was opened anew", () => {
  const state = new JournalState();
  open(state, "7", 0);
  assert.deepEqual(open(state, "7", 1, 1), { epoch: 1 });
  assert.deepEqual(open(state, "7", 1), { refused: "superseded" }, "Kafka knows the one that goes on");
  assert.deepEqual(open(state, "7", 2), { epoch: 2 });
  assert.deepEqual(open(state, "7", 3, 1), { refused: "fenced" });
});
