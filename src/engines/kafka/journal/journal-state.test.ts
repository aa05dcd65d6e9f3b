import assert from "node:assert/strict";
import { test } from "node:test";
import { type Command, decodeCommand, encodeCommand } from "./commands.ts";
import { JournalState } from "./journal-state.ts";
import type { Results } from "./results.ts";

/** A journal that is being carried out, with the time that its records bear. */
class Bench {
  state = new JournalState();
  now = 1_000;

  do<Kind extends Command["kind"]>(command: Extract<Command, { kind: Kind }>): Results[Kind] {
    // As it comes back from Kafka.
    const stored = decodeCommand(encodeCommand({ id: "test/0", command }));
    assert.ok(typeof stored === "object");
    return this.state.apply(stored.command, this.now) as Results[Kind];
  }

  declare(more: Partial<Extract<Command, { kind: "declare" }>> = {}) {
    return this.do<"declare">({
      kind: "declare",
      name: "orders",
      kafkaName: "tenon.orders",
      kafkaId: "id-1",
      partitions: 1,
      retentionMs: null,
      countMax: null,
      whenFull: null,
      groups: ["billing"],
      starts: [0],
      ends: null,
      ...more,
    });
  }

  join(member: string, sessionMs = 10_000) {
    const options = { sessionMs, revokeMs: 100, windowMax: 100, agreement: "", ephemeral: false };
    const joined = this.do<"join">({
      ...{ kind: "join", topic: 1, group: "billing", member, mayMake: true, starts: [0] },
      ...options,
    });
    assert.ok(joined.refused === undefined);
    return joined;
  }

  commit(fence: number, revision: number, more: Partial<Extract<Command, { kind: "commit" }>> = {}) {
    return this.do<"commit">({
      ...{ kind: "commit", topic: 1, group: 2, partition: 0, fence, revision, from: [0], to: [1], held: [] },
      ...more,
    });
  }

  /** Goes on from a snapshot, as an engine does that comes new. */
  readAnew(): void {
    this.state = JournalState.decode(this.state.encode());
  }
}

test("a commit under a superseded fence says so, and nothing of it happens", () => {
  const bench = new Bench();
  bench.declare();
  const [lane] = bench.join("first", 1_000).report.lanes;
  assert.equal(bench.commit(lane!.fence, 1), 1);
  bench.now += 1_000;
  const [next] = bench.join("second").report.lanes;
  assert.ok(next!.fence > lane!.fence);
  assert.equal(bench.commit(lane!.fence, 2, { from: [1], to: [2] }), undefined);
  assert.equal(bench.commit(next!.fence, 1, { from: [], to: [] }), 1);
});

test("a commit that comes late, behind a later one of its owner, changes nothing any more", () => {
  const bench = new Bench();
  bench.declare();
  const { fence } = bench.join("first").report.lanes[0]!;
  bench.commit(fence, 2, { from: [], to: [], held: [[5, 2, 0, 0]] });
  assert.equal(bench.commit(fence, 1, { from: [], to: [], held: [[5, 1, 0, 0]] }), 0);
  const [held] = bench.state.topicNamed("orders")!.groups.get("billing")!.lanes[0]!.state.progress.held;
  assert.equal(held!.failures, 2);
});

test("time goes on with the records, and never back", () => {
  const bench = new Bench();
  bench.declare();
  bench.join("first", 500);
  bench.now = 400;
  bench.do({ kind: "look", name: "orders" });
  assert.equal(bench.state.now, 1_000, "a broker's clock that goes back");
  bench.now = 1_500;
  const renewed = bench.do<"renew">({ kind: "renew", topic: 1, group: 2, member: "first", sessionMs: 500 });
  assert.equal(renewed.refused, "ended");
});

test("whoever goes on from a snapshot comes to the same as whoever read all", () => {
  const whole = new Bench();
  const anew = new Bench();
  const both = (act: (bench: Bench) => unknown) => {
    assert.deepEqual(act(anew), act(whole));
    anew.readAnew();
    assert.deepEqual(anew.state.encode(), whole.state.encode());
  };
  const pass = (ms: number) => {
    whole.now += ms;
    anew.now += ms;
  };
  both((bench) => bench.declare({ partitions: 3, starts: [0, 4, 9], countMax: 5, whenFull: "evict", ends: [7, 4, 9] }));
  both((bench) => bench.join("first", 1_000));
  both((bench) => bench.join("second", 3_000));
  both((bench) => bench.commit(1, 1, { from: [0, 3], to: [1, 5], held: [[2, 1, 1, 99]] }));
  both((bench) => bench.do({ kind: "producer", topic: 1, producer: "p", epoch: 3, kafkaId: "77" }));
  both((bench) => bench.do({ kind: "admit", topic: 1, partition: 1, admission: "a", counts: [1, 9, 2], end: 5 }));
  pass(1_500);
  both((bench) => bench.do({ kind: "renew", topic: 1, group: 2, member: "second", sessionMs: 3_000 }));
  both((bench) => bench.do({ kind: "trim", topic: 1, ends: [7, 6, 9] }));
  both((bench) => bench.do({ kind: "seek", name: "orders", group: "billing", starts: [3, null, 9] }));
  both((bench) => bench.do({ kind: "remove", name: "orders" }));
  both((bench) => bench.declare());
  assert.equal(whole.declare({ kafkaId: "id-1" }).refused, "removed");
});

test("a newer epoch of a producer is one of Kafka's, and the older one is told of it", () => {
  const bench = new Bench();
  bench.declare();
  const open = (epoch: number, kafkaId: string) =>
    bench.do<"producer">({ kind: "producer", topic: 1, producer: "p", epoch, kafkaId })!;
  assert.deepEqual(open(1, "70"), { epoch: 1, kafkaId: "70", kafkaEpoch: 0, since: 1_000 });
  assert.deepEqual(open(4, "71"), { epoch: 4, kafkaId: "70", kafkaEpoch: 1, since: 1_000 });
  assert.equal(open(1, "72").epoch, 4);
  assert.deepEqual(open(4, "73"), { epoch: 4, kafkaId: "70", kafkaEpoch: 1, since: 1_000 });
});

test("a producer that nobody speaks of for two days is forgotten", () => {
  const bench = new Bench();
  bench.declare();
  bench.do({ kind: "producer", topic: 1, producer: "silent", epoch: 0, kafkaId: "1" });
  bench.now += 48 * 3_600_000;
  bench.do({ kind: "producer", topic: 1, producer: "other", epoch: 0, kafkaId: "2" });
  const { producers } = bench.state.topicNamed("orders")!;
  assert.equal(producers.get("silent"), undefined);
  assert.ok(producers.get("other") !== undefined);
});

test("a record that is no command means nothing, and a later version's is told apart", () => {
  assert.equal(decodeCommand(Buffer.from("hello")), undefined);
  assert.equal(decodeCommand(Buffer.from('{"version":1}')), undefined);
  assert.equal(decodeCommand(Buffer.from("null")), undefined);
  assert.equal(decodeCommand(Buffer.from('{"version":3,"id":"x","kind":"look"}')), "newer");
});
