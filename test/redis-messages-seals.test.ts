/** Seals on Redis while other processes append, on one server and on a cluster, where a lane's copies are in another slot. */
import { randomUUID } from "node:crypto";
import { after, type TestContext, test } from "node:test";
import { closedAfter } from "./closed-after.ts";
import { engine } from "./engines.ts";
import {
  ioredisClusterFlavour,
  ioredisFlavour,
  type RedisFlavour,
  removeKeys,
  startProcess,
} from "./redis-messages-host.ts";
import { sealWhileOthersAppend } from "./seal-races.ts";

const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const single = await engine("redis");
const cluster = await engine("redis-cluster");

async function raced(t: TestContext, flavour: RedisFlavour): Promise<void> {
  const prefix = `tenon-test-${randomUUID()}`;
  const open = () => closedAfter(t, startProcess(flavour, prefix), (process) => process.close());
  const processes = await Promise.all([1, 2, 3].map(open));
  t.after(async () => {
    const nodes = await flavour.nodes();
    await removeKeys(nodes, prefix);
    for (const node of nodes) node.disconnect();
  });
  const [sealing, ...appending] = processes.map(({ messages }) => messages);
  await sealWhileOthersAppend(sealing!, appending, "orders");
  await sealWhileOthersAppend(sealing!, appending, "few", { countMax: 1_000_000 });
}

test(
  "what other processes append while a topic is sealed is stored before the seal, or never",
  { skip: single.skip },
  (t) => raced(t, ioredisFlavour(single.url)),
);

test("the same on a cluster", { skip: cluster.skip }, (t) => raced(t, ioredisClusterFlavour(cluster.urls)));
