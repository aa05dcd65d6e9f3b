import assert from "node:assert/strict";
import type { MessageEngine } from "tenon/contracts";

const hidden = "\0later/1/0";
const refusal = { code: "invalid", message: /^a topic name does not begin with "\\u0000later\/"/ };

/** No call takes a name that the engine keeps delayed messages under. */
export async function refusesHiddenNames(messages: MessageEngine): Promise<void> {
  const joining = { sessionMs: 60_000, revokeMs: 1_000, windowMax: 1_000 };
  const batch = { topic: hidden, partition: 0, messages: [{ body: Buffer.from("body") }] };
  const calls = {
    declare: () => messages.declare(hidden, { partitions: 1 }),
    describe: () => messages.describe(hidden),
    append: () => messages.append(batch),
    "append, delayed": () =>
      messages.append({ ...batch, messages: [{ ...batch.messages[0]!, dueAt: Date.now() + 60_000 }] }),
    join: () => messages.join(hidden, "keepers", joining),
    seek: () => messages.seek(hidden, "keepers", "now"),
    removeGroup: () => messages.removeGroup(hidden, "keepers"),
    remove: () => messages.remove(hidden),
  };
  for (const [name, call] of Object.entries(calls)) await assert.rejects(call, refusal, name);
  await messages.declare("orders", { partitions: 1, groups: ["group"] });
  const member = await messages.join("orders", "group", joining);
  const lane = await member.nextLane();
  await assert.rejects(lane.commit({ settled: [], appends: [batch] }), refusal, "an append of a lane's commit");
  await member.leave();
}
