/** A process that is killed in the midst of a commit: all is written, and Kafka is not told to commit it. */
import * as client from "@platformatic/kafka";
import type { LogCommit } from "tenon/contracts";
import { type Server, startKafka } from "../kafka-host.ts";

const [server, prefix, commandTimeoutMs] = JSON.parse(process.argv[2]!) as [Server, string, number];
const { api } = client.endTxnV3;
const async = () => {
  console.log("written");
  return new Promise(() => undefined);
};
const mute = { ...client, endTxnV3: { ...client.endTxnV3, api: { ...api, async } as unknown as typeof api } };
const { engine } = await startKafka(server, prefix, { client: mute, commandTimeoutMs });
const writer = await engine.log.openWriter("writer", ["in", "out"]);
const output = (partition: number) => ({ log: "out", partition, records: [{ body: Buffer.from("undecided") }] });
const change: LogCommit = {
  outputs: [output(0), output(1)],
  positions: [{ reader: "reader", log: "in", partition: 0, position: 1n }],
};
// Whoever started it ends it.
setInterval(() => undefined, 60_000);
await engine.log.commit(writer, change);
