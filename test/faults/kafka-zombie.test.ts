/** A member whose process stands still for longer than its session, and comes back. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { engine } from "../engines.ts";
import { deleteTopics, serverOf, startKafka, testPrefix } from "../kafka-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const kafka = await engine("kafka");

test("a process that was stopped beyond its session can commit nothing more", { skip: kafka.skip }, async (t) => {
  const server = serverOf(kafka.url);
  const prefix = testPrefix();
  t.after(() => deleteTopics(server, prefix));
  const { engine: own } = await startKafka(server, prefix);
  t.after(() => own.close());
  const { messages } = own;
  await messages.declare("orders", { partitions: 1, groups: ["billing"] });
  const body = Buffer.from("order");
  await messages.append({ topic: "orders", partition: 0, messages: [{ body }, { body }] });

  const parameters = JSON.stringify([server, prefix, "orders", "billing"]);
  const program = fileURLToPath(new URL("kafka-member.ts", import.meta.url));
  const child = spawn(process.execPath, ["--conditions=source", program, parameters], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  const said = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const hear = async () => JSON.parse((await said.next()).value as string) as Record<string, string>;
  const fetched = await hear();
  assert.equal(fetched.did, "fetch");

  child.kill("SIGSTOP");
  const member = await messages.join("orders", "billing", { sessionMs: 10_000, revokeMs: 1_000, windowMax: 100 });
  const lane = await member.nextLane();
  assert.ok(lane.fence > BigInt(fetched.fence!), "the successor's fence is greater");
  assert.ok(lane.suspectBelow > BigInt(fetched.position!), "what the zombie fetched is suspect");
  const [first] = await lane.fetch(1);
  assert.equal(String(first!.position), fetched.position);

  child.stdin.write("commit\n");
  child.kill("SIGCONT");
  const refused = await hear();
  assert.deepEqual(refused, { did: "refused", code: "lost" });
  assert.equal((await messages.describe("orders")).groups[0]!.lanes[0]!.lag, 2, "nothing of it happened");
  await lane.commit({ settled: [first!.position] });
  assert.equal((await messages.describe("orders")).groups[0]!.lanes[0]!.lag, 1);
  child.kill("SIGKILL");
  await once(child, "exit");
});
