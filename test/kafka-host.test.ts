import { test } from "node:test";
import * as client from "@platformatic/kafka";
import { systemWorld } from "tenon/world";
import { eventually } from "../src/conformance/expectations.ts";
import { engine } from "./engines.ts";
import { deleteTopics, serverOf, testPrefix } from "./kafka-host.ts";

const { skip, url } = await engine("kafka");

test("topics that somebody else is deleting are deleted all the same", { skip }, async (t) => {
  const server = serverOf(url);
  const prefix = testPrefix();
  const admin = new client.Admin({ clientId: "tenon-test", bootstrapBrokers: [`${server.host}:${server.port}`] });
  t.after(() => admin.close());
  await admin.createTopics({ topics: [`${prefix}.one`, `${prefix}.other`], partitions: 1, replicas: 1 });
  // All of them list the topics before the first has deleted any.
  await Promise.all(Array.from({ length: 4 }, () => deleteTopics(server, prefix)));
  const areLeft = async () => (await admin.listTopics()).some((topic) => topic.startsWith(prefix));
  await eventually(systemWorld(), "none is left", async () => !(await areLeft()));
});
