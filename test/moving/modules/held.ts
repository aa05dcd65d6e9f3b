/** An engine in memory with a topic whose consumer does not leave. */
import { engine as unused } from "./unused.ts";

export default async function engine() {
  const held = await unused();
  await held.messages.join("orders", "billing", { sessionMs: 60_000, revokeMs: 60_000, windowMax: 100 });
  return held;
}
