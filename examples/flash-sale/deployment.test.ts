import assert from "node:assert/strict";
import { test } from "node:test";
import { plannedCrashes } from "./crashes.ts";
import { planOf } from "./deployment.ts";
import { gatewayIds } from "./model.ts";

const names = (plan: ReturnType<typeof planOf>) => plan.map(({ name }) => name);

test("in processes of their own there are the order service, two stock services and two gateways", () => {
  assert.deepEqual(names(planOf("queue", true)), ["orders", "stock-0", "stock-1", ...gatewayIds]);
  assert.ok(planOf("queue", true).every(({ roles }) => roles.length === 1));
});

test("direct calls need no stock service", () => {
  assert.deepEqual(names(planOf("bucket", true)), ["orders", ...gatewayIds]);
});

test("one process runs the same kinds of services, from the back of the shop to the door", () => {
  const [all, ...others] = planOf("queue", false);
  assert.deepEqual(others, []);
  assert.deepEqual(
    all!.roles.map((role) => (role.type === "gateway" ? role.id : role.type)),
    ["orders", "stock", ...gatewayIds],
  );
});

test("one of each kind is killed, servers of the run's own between them, all well before the end", async () => {
  const killed: string[] = [];
  const processes = {
    crash: async (name: string) => {
      killed.push(name);
    },
  };
  const server = {
    stop: async () => void killed.push("stop"),
    start: async () => void killed.push("start"),
  };
  const planned = plannedCrashes(planOf("queue", true), processes, [{ name: "Redis", server }]);
  for (const { run } of planned) await run();
  assert.deepEqual(killed, ["gateway-1", "stock-1", "stop", "start", "orders"]);
  const fractions = planned.map(({ fraction }) => fraction);
  assert.deepEqual(
    fractions,
    fractions.toSorted((one, other) => one - other),
  );
  assert.ok(fractions[0]! > 0 && fractions.at(-1)! < 0.7);
  assert.deepEqual(
    plannedCrashes(planOf("queue", false), processes, []).map(({ name, fraction }) => [name, fraction]),
    [["the sale", 0.4]],
  );
});
