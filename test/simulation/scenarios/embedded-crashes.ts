import { TenonError } from "../../../src/contracts/errors.ts";
import { embedded } from "../../../src/engines/embedded/index.ts";
import { json, type MessageContext, topic } from "../../../src/messaging/index.ts";
import {
  type ProcessContext,
  type ProcessHandle,
  type SimulatedSystem,
  Violation,
} from "../../../src/simulation/index.ts";
import { observedMessages } from "../observed-messages.ts";
import type { ScenarioDefinition } from "../scenario.ts";

interface Order {
  readonly customer: string;
  readonly number: number;
  readonly padding: string;
}

const customers = ["ann", "bob", "cem", "dia"];
const ordersEach = 60;
const crashKinds = ["open", "append", "sync", "truncate", "remove", "syncDirectory"] as const;

/**
 * One process with the engine, publishers and a consumer in it, on a machine that crashes, also in the middle of what its disk does, or whose
 * disk fails. Segments are small, so that they are sealed and cleaned away all the time. Some seeds ask for less durability, and then only that the engine opens again.
 */
export const scenario: ScenarioDefinition = {
  name: "embedded-crashes",
  options: {
    faults: {
      swarm: ["crash", "kill", "pause", "sleep", "clock-step", "disk-error", "disk-outage", "disk-full"],
      // A retry is due by the wall clock: while that has been set back, its key waits.
      settings: { clockStepMs: { min: 10, max: 20_000 } },
    },
    safetyMs: 20_000,
  },
  run: async (system) => {
    const { random } = system;
    const durability = random.pick(["sync", "sync", "async"] as const);
    const settings = {
      durability,
      // What is synced late is at stake where a segment ends.
      segmentBytes: durability === "async" ? 4_096 : random.pick([4_096, 16_384, 65_536]),
      retentionMs: random.pick([1, 1_000, 3_600_000]),
      reserveBytes: random.pick([0, 65_536]),
      failing: random.pick([0, 0.1, 0.4]),
      paddingMax: durability === "async" ? 500 : random.pick([10, 500]),
      pauseMsMax: random.pick([50, 400]),
    };
    const book = new Book(settings.durability === "sync");
    system.always("orders are handled as they were published", () => book.throwIfBroken(), { quietEveryMs: 1 });
    const shop = system.process("shop", (process) => serve(process, book, settings), {
      // A clock that jumps ends the time within which ids are remembered, and then a second copy is allowed.
      faults: { clock: random.chance(0.3) },
      whenMainFails: "restart",
    });
    await crashAtOperations(system, shop);
    await system.healed();
    await system.until("the engine has opened since everything healed", () => book.openedIn === shop.incarnation);
    if (book.kept) await allHandled(system, book);
    shop.crash(random.pick(["process", "lost", "kept"]));
    shop.restart();
    await system.until("the engine opens at last", () => book.openedIn === shop.incarnation);
  },
};

/** Crashes that meet the disk at work, which those that come by the clock seldom do. */
async function crashAtOperations(system: SimulatedSystem, shop: ProcessHandle): Promise<void> {
  const { random } = system;
  for (let count = random.integer(0, 6); count > 0 && system.phase === "safety"; count--) {
    const kinds = random.chance(0.5) ? crashKinds : [random.pick(crashKinds)];
    const moment = random.pick(["before", "during"] as const);
    const planned = shop.disk.crashAtOperation(random.integer(1, 40), moment, { kinds });
    await system.until(
      "the crash has struck, or there will be none",
      () => planned.struck || system.phase === "liveness",
    );
    planned.cancel();
  }
}

async function allHandled(system: SimulatedSystem, book: Book): Promise<void> {
  await system.until("every order is published and handled", () => book.done);
}

interface Settings {
  readonly durability: "sync" | "async";
  readonly segmentBytes: number;
  readonly retentionMs: number;
  readonly reserveBytes: number;
  readonly failing: number;
  readonly paddingMax: number;
  readonly pauseMsMax: number;
}

async function serve({ world, incarnation }: ProcessContext, book: Book, settings: Settings): Promise<void> {
  const { durability, segmentBytes, retentionMs, reserveBytes } = settings;
  const directory = "/shop";
  const engine = await embedded({ world, directory, durability, segmentBytes, retentionMs, reserveBytes }).catch(
    (error: unknown) => book.notOpened(error),
  );
  book.openedIn = incarnation;
  const messages = observedMessages(engine.messages, (lane, positions) => book.settled(lane, positions));
  const orders = topic({ messages, world }, "orders", {
    codec: json<Order>(),
    partitions: 2,
    groups: ["billing"],
    publishTimeoutMs: 2_000,
  });
  await orders.consume(
    "billing",
    async ({ customer, number }, context) => {
      book.began(customer, number, context);
      await world.timers.sleep(world.random.float() * 5);
      if (world.random.float() < settings.failing) throw new Error("not now");
      book.handled(customer, number);
    },
    { concurrency: 4, retry: { attemptsMax: 1_000, delayMs: 50, delayMsMax: 500 }, prefetch: 10 },
  );
  await Promise.all(
    customers.map(async (customer) => {
      for (;;) {
        const number = book.next(customer);
        if (number >= ordersEach) return;
        const padding = "x".repeat(Math.floor(world.random.float() * settings.paddingMax));
        const options = { key: customer, id: `${customer}-${number}` };
        await orders.publish({ customer, number, padding }, options);
        book.published(customer, number);
        await world.timers.sleep(world.random.float() * settings.pauseMsMax);
      }
    }),
  );
  await new Promise((_, reject) => engine.ended.addEventListener("abort", () => reject(engine.ended.reason)));
}

/** What the customers know, whatever becomes of the shop. */
class Book {
  /** Whether what was acknowledged survives the machine. */
  readonly kept: boolean;
  openedIn = 0;
  readonly #published = new Map<string, number>();
  readonly #handled = new Map<string, number>();
  readonly #fences = new Map<string, bigint>();
  readonly #settled = new Set<string>();
  #broken: string | undefined;

  constructor(kept: boolean) {
    this.kept = kept;
  }

  throwIfBroken(): void {
    if (this.#broken !== undefined) throw new Violation(this.#broken);
  }

  /** The number of the customer's next order. */
  next(customer: string): number {
    return this.#published.get(customer) ?? 0;
  }

  get done(): boolean {
    return customers.every(
      (customer) => this.next(customer) === ordersEach && (this.#handled.get(customer) ?? 0) === ordersEach,
    );
  }

  notOpened(error: unknown): never {
    if (error instanceof TenonError && error.code === "corrupt")
      this.#broken ??= `the engine refused to open: ${error.message}`;
    throw error;
  }

  published(customer: string, number: number): void {
    this.#published.set(customer, number + 1);
  }

  began(customer: string, number: number, context: MessageContext): void {
    if (!this.kept) return;
    const { partition, position, fence } = context;
    const lane = `${context.topic}/${partition}`;
    if (this.#settled.has(`${lane}/${position}`)) {
      this.#broken ??= `order ${number} of ${customer} was settled, and is handled again`;
    }
    if (number > (this.#handled.get(customer) ?? 0)) {
      this.#broken ??= `order ${number} of ${customer} is handled before its predecessor`;
    }
    if (fence <= (this.#fences.get(lane) ?? 0n)) this.#broken ??= `the fence of ${lane} did not grow: ${fence}`;
    this.#fences.set(lane, fence);
  }

  handled(customer: string, number: number): void {
    this.#handled.set(customer, Math.max(this.#handled.get(customer) ?? 0, number + 1));
  }

  settled(lane: string, positions: Iterable<bigint>): void {
    for (const position of positions) this.#settled.add(`${lane}/${position}`);
  }
}
