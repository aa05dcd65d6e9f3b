/** A topic moves from the embedded engine to Kafka while other processes publish and consume, and the command that moves it is killed. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { engine } from "../engines.ts";
import { deleteTopics, serverOf, testPrefix } from "../kafka-host.ts";
import { auditedMove } from "./audited-move.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));
const isSlow = process.env.TENON_SLOW === "1";
const kafka = await engine("kafka");

test("from the embedded engine to Kafka", { skip: kafka.skip, timeout: isSlow ? 600_000 : 170_000 }, async (t) => {
  const server = serverOf(kafka.url);
  const prefix = testPrefix();
  await auditedMove(t, {
    async site(processes) {
      const directory = await mkdtemp(join(tmpdir(), "tenon-move-"));
      t.after(async () => {
        await deleteTopics(server, prefix);
        await rm(directory, { recursive: true });
      });
      const { ready } = await processes.start("engine-server.ts", [directory], process.env);
      return { from: { engine: "served", address: ready.address! }, to: { engine: "kafka", server, prefix } };
    },
    delays: false,
    killedAt: isSlow ? ["copying", "copied"] : ["copied"],
    count: isSlow ? 10_000 : 400,
  });
});
