import assert from "node:assert/strict";
import { test } from "node:test";
import { closedAfter } from "./closed-after.ts";

test("what opens only after its test has failed is closed by the end of the test, which waits for it", async () => {
  const hooks: (() => Promise<unknown>)[] = [];
  const closed: string[] = [];
  const opening = Promise.withResolvers<string>();
  const failing = Promise.all([
    Promise.reject(new Error("another one does not open")),
    closedAfter({ after: (hook) => hooks.push(hook as () => Promise<unknown>) }, opening.promise, async (opened) =>
      closed.push(opened),
    ),
  ]);
  await assert.rejects(failing, /another one/);
  const ended = Promise.all(hooks.map((hook) => hook()));
  opening.resolve("engine");
  await ended;
  assert.deepEqual(closed, ["engine"]);
});
