import assert from "node:assert/strict";
import { test } from "node:test";
import { memory } from "../../engines/embedded/index.ts";
import { DeadLetter, type Interceptor, json, type Topic, topic, verdict } from "../../messaging/index.ts";
import { simulatedWorld } from "../simulation.ts";
import { messagingViolations } from "./messaging-checker.ts";
import { MessagingHistory } from "./messaging-history.ts";
import { recordedMessages, recordingInterceptor } from "./messaging-recording.ts";

interface Note {
  readonly number: number;
}

/** A topic on a real engine, everything recorded. */
async function recorded(work: (notes: Topic<Note>, history: MessagingHistory) => Promise<void>): Promise<void> {
  const simulation = simulatedWorld({ seed: 1 });
  const { clock } = simulation.world;
  const nowMs = (): number => clock.now();
  const history = new MessagingHistory({
    nowMs: () => simulation.nowMs,
    engineNowMs: nowMs,
    memberNowMs: [nowMs],
  });
  await simulation.run(async () => {
    const { world } = simulation;
    const engine = await memory({ world });
    const recording = { history, name: "p", numberOf: ({ number }: Note) => number, nowMs };
    const interceptors: readonly Interceptor<Note>[] = [recordingInterceptor(recording)];
    const options = { codec: json<Note>(), partitions: 2, groups: ["g"], interceptors };
    const messages = recordedMessages(engine.messages, history);
    const notes = topic({ messages, world }, "notes", options);
    await work(notes, history);
    // Delayed messages that are not due are in nobody's lag yet.
    const isBusy = async (): Promise<boolean> =>
      (await notes.describe()).delayedCount > 0 || (await notes.lag("g")).messages > 0;
    while (await isBusy()) await world.timers.sleep(100);
    const letters = await notes.deadLetters("g").peek();
    const deadLetters = letters.map((letter) => ({ ...letter, number: letter.value!.number }));
    history.atRest({ topic: "notes", group: "g", lag: 0, deadLetters });
    await notes.close();
    await engine.close();
  });
}

const expected = { topic: "notes", groups: ["g"], attemptsMax: 2 };

test("what a topic does on a real engine breaks no promise, and all of it is recorded", async () => {
  let history: MessagingHistory | undefined;
  await recorded(async (notes, recording) => {
    history = recording;
    await notes.consume(
      "g",
      ({ number }, { attempt }) => {
        if (number === 3) throw new DeadLetter("three");
        if (number === 5) throw new Error("five");
        if (number % 2 === 0 && attempt === 1) throw new TypeError("again");
      },
      { retry: { attemptsMax: 2, delayMs: 10 } },
    );
    for (let number = 0; number < 20; number += 1) {
      await notes.publish({ number }, { key: `k${number % 3}`, ...(number > 15 && { delayMs: 1_000 }) });
    }
    await notes.publish({ number: 20 }, { ttlMs: 5_000, id: "twenty" });
  });
  assert.deepEqual(messagingViolations(history!, expected), []);
  const { publishes, deliveries } = history!;
  assert.deepEqual(publishes[17]?.dueAt, publishes[17]!.called.engineMs + 1_000);
  assert.deepEqual(publishes[20]?.expiresAt, publishes[20]!.called.engineMs + 5_000);
  assert.equal(deliveries.filter(({ ending }) => ending === "resolved").length, 19);
  // The same run, had it lost what was handled last, or kept what was given up.
  const last = deliveries.findLast(({ ending }) => ending === "resolved")!;
  deliveries.splice(deliveries.indexOf(last), 1);
  assert.match(
    messagingViolations(history!, expected).join("\n"),
    new RegExp(`message ${last.number} .*is lost to group`),
  );
});

test("the reasons that are recorded are those of the dead letters", async () => {
  let history: MessagingHistory | undefined;
  await recorded(async (notes, recording) => {
    history = recording;
    const errors = [new DeadLetter("a"), new TypeError("b"), "no error"];
    await notes.consume(
      "g",
      ({ number }) => {
        throw errors[number];
      },
      { retry: { attemptsMax: 0 } },
    );
    for (const number of errors.keys()) await notes.publish({ number }, { key: "k" });
  });
  assert.deepEqual(messagingViolations(history!, { ...expected, attemptsMax: 0 }), []);
  assert.equal(history!.rests[0]?.deadLetters?.length, 3);
});

test("batches are recorded with the verdict of each message", async () => {
  let history: MessagingHistory | undefined;
  await recorded(async (notes, recording) => {
    history = recording;
    await notes.publishMany([1, 2, 3, 4].map((number) => ({ value: { number }, key: "k" })));
    const answers = [verdict.settle, verdict.settle, verdict.deadLetter("two"), verdict.retry("three")];
    await notes.consumeBatch(
      "g",
      (messages) =>
        messages.map(({ value, attempt }) =>
          attempt > 1 ? verdict.settle : (answers[value.number] ?? verdict.settle),
        ),
      { batchCountMax: 4, retry: { attemptsMax: 2, delayMs: 10 } },
    );
  });
  assert.deepEqual(messagingViolations(history!, expected), []);
  const first = history!.deliveries.slice(0, 4);
  assert.deepEqual(
    first.map(({ ending, reason }) => [ending, reason]),
    [
      ["resolved", undefined],
      ["dead letter", "two"],
      ["threw", "three"],
      ["resolved", undefined],
    ],
  );
  assert.equal(new Set(first.map(({ batch }) => batch)).size, 1);
});

test("every settlement of a lane is recorded when it is confirmed, but those of messages that wait for their retry elsewhere", async () => {
  let history: MessagingHistory | undefined;
  await recorded(async (notes, recording) => {
    history = recording;
    const retry = { attemptsMax: 2, delayMs: 10_000_000, delayMsMax: 10_000_000 };
    await notes.consume(
      "g",
      ({ number }, { attempt }) => {
        if (number === 1 && attempt === 1) throw new Error("later");
      },
      { retry },
    );
    for (const number of [0, 1, 2]) await notes.publish({ number }, { partition: 0 });
  });
  assert.deepEqual(messagingViolations(history!, expected), []);
  const settled = history!.settles.filter(({ topic: name }) => name === "notes").map(({ position }) => position);
  assert.deepEqual(settled, [0n, 2n]);
});
