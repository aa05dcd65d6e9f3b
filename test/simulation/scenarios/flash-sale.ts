import { audit, type BuyersView, type DurableState } from "../../../examples/flash-sale/audit.ts";
import { demand, type Purchase } from "../../../examples/flash-sale/demand.ts";
import { planOf, type Role } from "../../../examples/flash-sale/deployment.ts";
import { readStateOf } from "../../../examples/flash-sale/durable-state.ts";
import { saleEngine } from "../../../examples/flash-sale/engine-store.ts";
import type { ServeHttp } from "../../../examples/flash-sale/http-server.ts";
import { gatewayIds, type SaleOptions, stockByItem } from "../../../examples/flash-sale/model.ts";
import { outstandingMessages, type Surroundings, startSaleIn } from "../../../examples/flash-sale/sale.ts";
import { consumedTopics, saleTopics } from "../../../examples/flash-sale/topics.ts";
import { embedded } from "../../../src/engines/embedded/index.ts";
import { type RemoteEngine, remote, serve } from "../../../src/engines/remote/index.ts";
import {
  type ProcessContext,
  type SimulatedDatabase,
  type SimulatedSystem,
  serveHttp,
  simulatedDatabase,
  sqlOver,
  Violation,
} from "../../../src/simulation/index.ts";
import type { World } from "../../../src/world/index.ts";
import type { ScenarioDefinition } from "../scenario.ts";

const enginePort = 4_000;
/** Instants of orders and of checks for payment come from wall clocks: larger jumps would only let a run wait as long. */
const clockStepMs = { min: 10, max: 20_000 };
const attemptTimeoutMs = 20_000;
const pauseMs = 50;

/**
 * The whole example: an engine's process, a database's, two gateways, two stock services and an order service, and buyers who ask again with the
 * same request id until they know. The audit of the example decides.
 */
export const scenario: ScenarioDefinition = {
  name: "flash-sale",
  options: {
    safetyMs: 40_000,
    livenessMs: 900_000,
    faults: {
      swarm: [
        ...(["crash", "kill", "pause", "sleep", "partition", "cut", "half-open", "slow-network"] as const),
        ...(["clock-step", "clock-drift", "disk-error", "disk-outage"] as const),
      ],
      settings: { clockStepMs },
    },
  },
  run: sellOut,
};

async function sellOut(system: SimulatedSystem): Promise<void> {
  const options = drawSale(system);
  const database = simulatedDatabase();
  system.process("engine", hostEngine, { whenMainFails: "restart" });
  system.process("database", database.main);
  for (const { name, roles } of planOf(options.flow, true)) {
    system.process(name, (process) => runServices(process, options, roles), { whenMainFails: "restart" });
  }
  const buyers = new Buyers(system, options);
  system.always("no item is sold more often than it was there", () => checkSold(database, options));
  await system.until("every buyer knows", () => buyers.waiting === 0);
  await system.healed();
  let rounds = 0;
  do {
    rounds += 1;
    await settle(system, rounds);
  } while ((await redriveUnlucky(system, rounds)) > 0);
  await auditSale(system, database, buyers.view(options));
}

function drawSale({ seed, random }: SimulatedSystem): SaleOptions {
  const requests = random.integer(20, 120);
  const stock = random.integer(5, requests);
  const buyers = random.integer(10, requests);
  return { requests, stock, buyers, seed: seed % 2 ** 31, flow: random.pick(["queue", "queue", "bucket"]) };
}

async function hostEngine({ world, name }: ProcessContext): Promise<void> {
  await using engine = await embedded({ directory: "/engine", world });
  await using _server = await serve(engine, { world, host: name, port: enginePort });
  await ending(engine.ended);
}

/** Ends when the engine does, so that the process is started again. */
async function runServices({ world, name }: ProcessContext, options: SaleOptions, roles: readonly Role[]) {
  const ended = new AbortController();
  const surroundings: Surroundings = {
    async openEngine() {
      const engine = await remote({ host: "engine", port: enginePort }, { world });
      engine.ended.addEventListener("abort", () => ended.abort(engine.ended.reason), { once: true });
      return saleEngine(engine, engine.rates);
    },
    async openOrders() {
      const sql = sqlOver(world, "database:5432");
      const close = async () => sql[Symbol.asyncDispose]();
      return { sql, close, [Symbol.asyncDispose]: close };
    },
    serveHttp: doorOf(world, name),
  };
  await startSaleIn(surroundings, { options, roles, ports: [80] });
  await ending(ended.signal);
}

function doorOf(world: World, host: string): ServeHttp {
  return async (handler, port) => {
    const server = await serveHttp(world, { host, port }, async (request) => {
      const reply = await handler.post(new URL(request.url).pathname, await request.text());
      return new Response(reply.body, { status: reply.status, headers: { "content-type": reply.contentType } });
    });
    return { port, close: () => server.close() };
  };
}

/** Rejects when the signal aborts. */
function ending(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const fail = () => reject(signal.reason);
    if (signal.aborted) fail();
    else signal.addEventListener("abort", fail, { once: true });
  });
}

/** They live on one machine that never crashes: what a buyer was told must be known at the end. */
class Buyers {
  readonly #purchases: readonly Purchase[];
  readonly #endings = new Map<string, number>();

  constructor(system: SimulatedSystem, options: SaleOptions) {
    this.#purchases = demand(options);
    const openings = new Map<Purchase, number>(
      // The example's crowd is spread over a time in which faults strike.
      this.#purchases.map((purchase) => [purchase, system.random.float() * 30_000]),
    );
    system.process(
      "buyers",
      async ({ world }) => {
        await Promise.all(this.#purchases.map((purchase) => this.#buy(world, purchase, openings.get(purchase)!)));
      },
      { faults: { crash: false, disk: false } },
    );
  }

  get waiting(): number {
    return this.#purchases.length - this.#endings.size;
  }

  view({ stock }: SaleOptions): BuyersView {
    const accepted = [...this.#endings].filter(([, status]) => status === 200).map(([requestId]) => requestId);
    return { stock, accepted: new Set(accepted), unanswered: new Set() };
  }

  async #buy(world: World, purchase: Purchase, opensAtMs: number): Promise<void> {
    await world.timers.sleep(opensAtMs);
    const { requestId, buyer, item, quantity } = purchase;
    const body = JSON.stringify({ requestId, buyer, item, quantity });
    for (let attempt = 1; ; attempt++) {
      const status = await this.#ask(world, attempt, body);
      // After a first attempt whose answer was lost, a refusal by the limiter does not say how the request ended.
      const known = status !== undefined && status < 500 && !(status === 429 && attempt > 1);
      if (known) {
        this.#endings.set(requestId, status);
        return;
      }
      await world.timers.sleep(pauseMs * Math.min(20, attempt));
    }
  }

  async #ask(world: World, attempt: number, body: string): Promise<number | undefined> {
    const gateway = gatewayIds[Math.floor(world.random.float() * gatewayIds.length)]!;
    try {
      const signal = AbortSignal.timeout(attemptTimeoutMs + attempt);
      const response = await fetch(`http://${gateway}/purchase`, { method: "POST", body, signal });
      await response.text();
      return response.status;
    } catch {
      return undefined;
    }
  }
}

/** Until the last buyer has paid or lost the order, and everybody has heard of it; what is left then, the audit reports. */
async function settle(system: SimulatedSystem, round: number): Promise<void> {
  let quiet = 0;
  await askEngine(system, `watcher-${round}`, async (engine) => {
    // Two looks, because one look passes over the topics one by one while messages move between them.
    while (quiet < 2) {
      quiet = (await outstandingMessages(engine.messages)) === 0 ? quiet + 1 : 0;
      await engine.world.timers.sleep(500);
    }
  });
}

/**
 * As an operator would: what was in hand each time that a process or the engine died counts as what kills its handler, and waits among the dead letters for somebody who knows better.
 * Whatever else is there stays, and the audit finds it. Answers how many go round again.
 */
async function redriveUnlucky(system: SimulatedSystem, round: number): Promise<number> {
  let count = 0;
  await askEngine(system, `operator-${round}`, async (engine) => {
    for (const { topic, group } of consumedTopics(saleTopics(engine))) {
      const letters = topic.deadLetters(group);
      if ((await letters.count()) === 0) continue;
      const reasons = (await letters.peek()).map(({ reason }) => reason);
      if (reasons.every((reason) => reason.startsWith("died with its handler "))) count += await letters.redrive();
    }
  });
  return count;
}

async function auditSale(system: SimulatedSystem, database: SimulatedDatabase, buyers: BuyersView): Promise<void> {
  let state: DurableState | undefined;
  await askEngine(system, "auditor", async (engine) => {
    await using sql = sqlOver(engine.world, "database:5432");
    state = await readStateOf(engine, sql);
  });
  const broken = audit(state!, buyers).checks.filter((check) => !check.holds);
  if (broken.length > 0) {
    throw new Violation(
      `the audit does not hold: ${broken.map(({ name, detail }) => `${name} – ${detail}`).join("; ")}`,
    );
  }
  checkRows(database);
}

/** From a process of its own, which is started again when the engine cannot be asked just now. */
async function askEngine(system: SimulatedSystem, name: string, ask: (engine: RemoteEngine) => Promise<void>) {
  const asking = async ({ world }: ProcessContext) => {
    await using engine = await remote({ host: "engine", port: enginePort }, { world });
    await ask(engine);
  };
  await system.process(name, asking, { whenMainFails: "restart" }).ended;
}

/** At every quiet point, from what is committed at that instant. */
function checkSold(database: SimulatedDatabase, { stock }: SaleOptions): void {
  if (!hasOrders(database)) return;
  const stocked = stockByItem(stock);
  const rows = database.query("SELECT item, count(*) AS sold FROM orders WHERE state <> 'cancelled' GROUP BY item");
  for (const { item, sold } of rows) {
    const there = stocked.get(item as string) ?? 0;
    if (Number(sold) > there) throw new Violation(`${sold} orders of ${item}, of which ${there} were there`);
  }
  checkRows(database);
}

function checkRows(database: SimulatedDatabase): void {
  const [twice] = database.query("SELECT buyer, count(*) AS orders FROM orders GROUP BY buyer HAVING count(*) > 1");
  if (twice !== undefined) throw new Violation(`${twice.buyer} has ${twice.orders} orders`);
}

function hasOrders(database: SimulatedDatabase): boolean {
  return database.query("SELECT name FROM sqlite_master WHERE name = 'orders'").length > 0;
}
