/** A member of a group in a process of its own, to be stopped and to go on: `node rabbitmq-member.ts URL PREFIX`. It fetches, and settles when it is told to. */
import { connect } from "amqplib";
import { TenonError } from "tenon/contracts";
import { rabbitmq } from "tenon/rabbitmq";

const [url, prefix] = process.argv.slice(2);
const engine = await rabbitmq({ connect: () => connect(url!), prefix: prefix! });
const member = await engine.messages.join("orders", "group", { sessionMs: 2_000, revokeMs: 1_000, windowMax: 100 });
const lane = await member.nextLane();
const stored = await lane.fetch(100);
process.send!({ fetched: stored.length, fence: Number(lane.fence) });
process.on("message", async () => {
  const settled = stored.map(({ position }) => position);
  const outcome = await lane.commit({ settled }).then(
    () => "settled",
    (error: unknown) => (error instanceof TenonError ? `${error.code}, ${error.outcome}` : String(error)),
  );
  process.send!({ outcome });
});
process.on("disconnect", () => process.exit());
