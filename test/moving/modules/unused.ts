/** An engine in memory with a topic that nobody consumes. */
import { memory } from "tenon/embedded";

export async function engine() {
  const unused = await memory();
  await unused.messages.declare("orders", { partitions: 2, groups: ["billing"] });
  await unused.messages.append({ topic: "orders", partition: 0, messages: [{ body: Buffer.from("order") }] });
  return unused;
}
