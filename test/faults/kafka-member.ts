/** A member in a process of its own: takes a lane, fetches, and on each line that comes in tries to commit what it fetched first. Says what happened, a line of JSON each. */
import { createInterface } from "node:readline";
import { TenonError } from "tenon/contracts";
import { type Server, startKafka } from "../kafka-host.ts";

const [server, prefix, topic, group] = JSON.parse(process.argv[2]!) as [Server, string, string, string];
const say = (said: Readonly<Record<string, unknown>>) => console.log(JSON.stringify(said));

const { engine } = await startKafka(server, prefix);
const member = await engine.messages.join(topic, group, { sessionMs: 1_000, revokeMs: 1_000, windowMax: 100 });
const lane = await member.nextLane();
const [first] = await lane.fetch(1);
say({ did: "fetch", fence: String(lane.fence), position: String(first!.position) });
for await (const _ of createInterface({ input: process.stdin })) {
  try {
    await lane.commit({ settled: [first!.position] });
    say({ did: "commit" });
  } catch (error) {
    say({ did: "refused", code: error instanceof TenonError ? error.code : String(error) });
  }
}
