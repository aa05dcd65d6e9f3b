import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../../../contracts/errors.ts";
import type { KeyValueEntry, WatchEvent } from "../../../contracts/key-value.ts";
import { systemWorld } from "../../../world/system/system-world.ts";
import { type KeyChange, type Page, Watch } from "./watch.ts";

const entry = (key: string, version: number): KeyValueEntry => ({
  key,
  value: Buffer.from(String(version)),
  version: BigInt(version),
  expiresAt: undefined,
});
const page = (version: number, entries: readonly [string, number][], after?: string): Page => ({
  version,
  entries: entries.map(([key, own]) => entry(key, own)),
  after,
});
const changed = (key: string, version: number): KeyChange => ({ key, version, entry: entry(key, version) });
const deleted = (key: string, version: number): KeyChange => ({ key, version, entry: undefined });

function shown(event: WatchEvent): string {
  if (event.type === "synced") return "synced";
  return event.type === "put" ? `${event.entry.key}@${event.entry.version}` : `${event.key} deleted @${event.version}`;
}

/** A watch whose pages the test gives, and whose events it takes one by one. */
class Subject {
  readonly watch: Watch;
  readonly ended = new AbortController();
  readonly #pages: (Page | Error | (() => Page))[];
  readonly #events: AsyncGenerator<WatchEvent>;

  constructor(...pages: (Page | Error | (() => Page))[]) {
    this.#pages = pages;
    const next = async (): Promise<Page> => {
      const given = this.#pages.shift();
      assert.ok(given !== undefined, "a page that the test did not expect to be read");
      if (given instanceof Error) throw given;
      return typeof given === "function" ? given() : given;
    };
    this.watch = new Watch("", systemWorld(), { page: next, following: () => undefined });
    this.#events = this.watch.events(this.ended.signal, undefined);
  }

  add(...pages: (Page | (() => Page))[]): void {
    this.#pages.push(...pages);
  }

  async take(count: number): Promise<string[]> {
    const events: string[] = [];
    while (events.length < count) events.push(shown((await this.#events.next()).value as WatchEvent));
    return events;
  }
}

test("what a later part of the state has shown is not followed by something older", async () => {
  const subject: Subject = new Subject(page(100, [["a", 90]], "a"), () => {
    subject.watch.offer([changed("b", 102), deleted("c", 102), changed("d", 102)], 102);
    return page(103, [
      ["b", 103],
      ["c", 103],
    ]);
  });
  assert.deepEqual(await subject.take(4), ["a@90", "b@103", "c@103", "synced"]);
  subject.watch.offer([changed("b", 103), changed("c", 103), changed("e", 104)], 104);
  assert.deepEqual(await subject.take(2), ["d@102", "e@104"]);
});

test("changes from before the state's instant are not taken, and before the state none are", async () => {
  const subject = new Subject(page(100, [["a", 90]]));
  subject.watch.offer([changed("z", 120)], 120);
  assert.equal(subject.watch.since, undefined);
  assert.deepEqual(await subject.take(2), ["a@90", "synced"]);
  assert.equal(subject.watch.since, 100);
  subject.watch.offer([changed("b", 100), changed("c", 101)], 105);
  assert.equal(subject.watch.since, 105);
  assert.deepEqual(await subject.take(1), ["c@101"]);
});

test("reading anew shows what has changed and what is no more, in the order of versions", async () => {
  const subject = new Subject(
    page(100, [
      ["a", 90],
      ["b", 91],
      ["c", 92],
    ]),
  );
  await subject.take(4);
  subject.watch.offer([changed("d", 101)], 101);
  subject.watch.reread();
  subject.add(page(200, [["a", 90]], "a"), page(205, [["c", 203]]));
  assert.deepEqual(await subject.take(2), ["b deleted @200", "c@203"]);
});

test("versions that a server has lost give way to the older ones that it has", async () => {
  const subject = new Subject(
    page(100, [
      ["a", 90],
      ["b", 91],
    ]),
  );
  await subject.take(3);
  subject.watch.reread();
  subject.add(page(95, [["a", 80]]));
  assert.deepEqual(await subject.take(2), ["a@80", "b deleted @95"]);
  subject.watch.offer([changed("a", 96)], 96);
  assert.deepEqual(await subject.take(1), ["a@96"]);
});

test("a change that comes while the state is read anew is the last word on its key", async () => {
  const subject: Subject = new Subject(
    page(100, [
      ["a", 90],
      ["b", 91],
    ]),
  );
  await subject.take(3);
  subject.watch.reread();
  const second = () => {
    subject.watch.offer([changed("b", 203), deleted("a", 204)], 204);
    return page(205, []);
  };
  subject.add(page(200, [["a", 201]], "a"), second);
  assert.deepEqual(await subject.take(2), ["b@203", "a deleted @204"]);
});

test("an outage while the state is read is waited for, another failure is thrown", async () => {
  const outage = new TenonError("unavailable", "away");
  assert.deepEqual(await new Subject(outage, outage, page(1, [["a", 1]])).take(2), ["a@1", "synced"]);
  await assert.rejects(new Subject(new TenonError("denied", "no")).take(1), { code: "denied" });
});

test("the engine's end is thrown, also to one that waits for the end of an outage", async () => {
  const subject = new Subject(new TenonError("unavailable", "away"));
  const taken = subject.take(1);
  subject.ended.abort(new TenonError("closed", "over"));
  await assert.rejects(taken, { code: "closed" });
});
