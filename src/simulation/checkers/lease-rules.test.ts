import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../../contracts/errors.ts";
import type { LeaseDescription, LeaseEngine } from "../../contracts/leases.ts";
import { Violation } from "../system.ts";
import { ClockRecord } from "./clock-record.ts";
import { LeaseHistory, recordLeases } from "./lease-history.ts";
import { checkFairness, checkLeases, checkLeasesAtRest, type LeaseRules } from "./lease-rules.ts";

const ttlMs = 1_000;

/** Tells a history step by step; a step's instant is where it begins, and an answer comes at an instant of its own. */
class Story {
  readonly history: LeaseHistory;
  now = 0;

  constructor() {
    this.history = new LeaseHistory(() => this.now);
  }

  /** Asks at `from`; the answer is given by calling what is returned. `undefined`: nobody knows. */
  ask(
    from: number,
    to: number | undefined,
    holder: string,
    answer: bigint | undefined,
    more: { weight?: number; capacity?: number; waitMs?: number } = {},
  ) {
    const { weight = 1, capacity = 1, waitMs = 0 } = more;
    const input = { type: "acquire", name: "till", holder, ttlMs, waitMs, weight, capacity } as const;
    return this.#record(
      from,
      to,
      holder,
      input,
      answer === undefined ? { type: "not granted" } : { type: "granted", token: answer },
    );
  }

  /** `sinceAt`: from when the holder counts, by its own clock. */
  renew(from: number, to: number | undefined, holder: string, token: bigint, { sinceAt }: { sinceAt?: number } = {}) {
    const input = { type: "renew", name: "till", holder, token, ttlMs } as const;
    return this.#record(from, to, holder, input, { type: "renewed", sinceAt });
  }

  lose(from: number, to: number | undefined, holder: string, token: bigint) {
    const input = { type: "renew", name: "till", holder, token, ttlMs } as const;
    return this.#record(from, to, holder, input, { type: "lost" });
  }

  release(from: number, to: number | undefined, holder: string) {
    return this.#record(from, to, holder, { type: "release", name: "till", holder }, { type: "released" });
  }

  affect(from: number, to: number | undefined, token: bigint, applied: boolean, order?: bigint) {
    this.#steps.push({
      from,
      to,
      run: (call) =>
        this.history.effects.record("c", { resource: "till", token }, async () => {
          await call;
          return { applied, order };
        }),
    });
  }

  readonly #steps: {
    readonly from: number;
    readonly to: number | undefined;
    readonly run: (call: Promise<void>) => Promise<unknown>;
  }[] = [];

  #record(
    from: number,
    to: number | undefined,
    holder: string,
    input: Parameters<LeaseHistory["requests"]["record"]>[1],
    output: Awaited<ReturnType<LeaseHistory["requests"]["record"]>>,
  ) {
    this.#steps.push({
      from,
      to,
      run: (call) =>
        this.history.requests.record(`client-${holder}`, input, async () => {
          await call;
          return output;
        }),
    });
  }

  /** Lets everything happen, at its instants. */
  async told(untilMs = 100_000): Promise<LeaseHistory> {
    const moments = this.#steps.flatMap((step) => {
      const settled = Promise.withResolvers<void>();
      const begin = { at: step.from, run: () => void step.run(settled.promise).catch(() => {}) };
      return step.to === undefined ? [begin] : [begin, { at: step.to, run: () => settled.resolve() }];
    });
    for (const { at, run } of moments.toSorted((a, b) => a.at - b.at)) {
      this.now = at;
      run();
      for (let turn = 0; turn < 10; turn++) await null;
    }
    this.now = untilMs;
    return this.history;
  }
}

const rules: LeaseRules = { expiryLatenessMs: 50, nowMs: 100_000 };
const broken = (message: RegExp) => (error: unknown) => error instanceof Violation && message.test(error.message);

async function right(tell: (story: Story) => void, more: Partial<LeaseRules> = {}): Promise<void> {
  const story = new Story();
  tell(story);
  checkLeases(await story.told(), { ...rules, ...more });
}

async function wrong(message: RegExp, tell: (story: Story) => void, more: Partial<LeaseRules> = {}): Promise<void> {
  const story = new Story();
  tell(story);
  const history = await story.told();
  assert.throws(() => checkLeases(history, { ...rules, ...more }), broken(message));
}

/** A clock that is set ahead by ten seconds at the instant. */
function steppedAt(stepMs: number): ClockRecord {
  const clock = new ClockRecord();
  for (let at = 0; at < 10_000; at += 1) clock.read(at, at < stepMs ? at : at + 10_000);
  return clock;
}

test("a name is granted again when it was released, or when its time has passed", async () => {
  await right((story) => {
    story.ask(0, 1, "a", 5n);
    story.release(10, 12, "a");
    story.ask(11, 13, "b", 6n);
    story.ask(1_100, 1_110, "c", 7n);
  });
});

test("no more is granted than there is while it is held", async () => {
  await wrong(
    /b \(of client-b, token 6\) was granted 1 of 1 of till by 13 ms, while 1 of it were held: by a \(of client-a, token 5\) until 985.*/,
    (story) => {
      story.ask(0, 1, "a", 5n);
      story.ask(11, 13, "b", 6n);
    },
  );
  await wrong(/while 1 of it were held/, (story) => {
    story.ask(0, 1, "a", 5n);
    story.renew(900, 910, "a", 5n);
    story.ask(1_500, 1_510, "b", 6n);
  });
});

test("shares are added up against what each asked for", async () => {
  const three = (weight: number) => ({ weight, capacity: 3 });
  await right((story) => {
    story.ask(0, 1, "a", 5n, three(1));
    story.ask(2, 3, "b", 6n, three(2));
  });
  await wrong(/granted 2 of 3 of till by 5 ms, while 2 of it were held/, (story) => {
    story.ask(0, 1, "a", 5n, three(1));
    story.ask(2, 3, "b", 6n, three(1));
    story.ask(4, 5, "c", 7n, three(2));
  });
});

test("where the engine's clock stepped, only fencing is judged", async () => {
  const clock = steppedAt(5);
  await right(
    (story) => {
      story.ask(0, 1, "a", 5n);
      story.ask(11, 13, "b", 6n);
    },
    { clock },
  );
  await wrong(
    /got a smaller token/,
    (story) => {
      story.ask(0, 1, "a", 5n);
      story.ask(11, 13, "b", 4n);
    },
    { clock },
  );
});

test("tokens grow, and none is given to two holders", async () => {
  await wrong(
    /b \(of client-b, token 4\) asked for till at 11 ms, after a \(of client-a, token 5\) had been granted it by 1 ms, and got a smaller token/,
    (story) => {
      story.ask(0, 1, "a", 5n);
      story.release(2, 3, "a");
      story.ask(11, 13, "b", 4n);
    },
  );
  await wrong(/token 5 of till was given to two holders: a .* and b/, (story) => {
    story.ask(0, 1, "a", 5n);
    story.ask(2_000, 2_001, "b", 5n);
  });
  await right((story) => {
    story.ask(0, 30, "a", 5n);
    story.release(31, 32, "a");
    story.ask(11, 40, "b", 4n);
    story.release(12, 13, "b");
  });
});

test("a renewal revives nothing that was released, passed on or over", async () => {
  await wrong(/told at 11 ms that it holds till, asking at 10 ms, after it had released it by 5 ms/, (story) => {
    story.ask(0, 1, "a", 5n);
    story.release(4, 5, "a");
    story.renew(10, 11, "a", 5n);
  });
  await wrong(/after b \(of client-b, token 6\) had been granted it by 2101 ms/, (story) => {
    story.ask(0, 1, "a", 5n);
    story.ask(2_100, 2_101, "b", 6n);
    story.renew(2_200, 2_210, "a", 5n);
  });
  await wrong(/after it had ended by 10\d\d\.?\d* ms/, (story) => {
    story.ask(0, 1, "a", 5n);
    story.renew(2_200, 2_210, "a", 5n);
  });
  await right(
    (story) => {
      story.ask(0, 1, "a", 5n);
      story.renew(900, undefined, "a", 5n);
      story.renew(1_500, 1_510, "a", 5n);
      story.lose(1_600, 1_700, "a", 5n);
    },
    { clock: steppedAt(1_550) },
  );
});

test("a lease lasts for its time to live", async () => {
  await wrong(/a .* was told at 510 ms that it had lost till, which was to be its own until 985/, (story) => {
    story.ask(0, 1, "a", 5n);
    story.lose(500, 510, "a", 5n);
  });
  await right((story) => {
    story.ask(0, 1, "a", 5n);
    story.release(499, undefined, "a");
    story.lose(500, 510, "a", 5n);
  });
});

test("guarded effects come in the order of their tokens", async () => {
  await right((story) => {
    story.affect(0, 5, 1n, true);
    story.affect(3, 8, 2n, true);
    story.affect(9, 10, 1n, false);
  });
  await wrong(
    /the effect on till under token 1 by c, called at 9 ms, was applied after the one under token 2 by c/,
    (story) => {
      story.affect(3, 8, 2n, true);
      story.affect(9, 10, 1n, true);
    },
  );
  await wrong(/was applied after/, (story) => {
    story.affect(3, 12, 2n, true, 7n);
    story.affect(9, 10, 1n, true, 8n);
  });
});

test("a holder whose clock runs stops in time", async () => {
  const story = new Story();
  story.ask(0, 1, "a", 5n);
  const history = await story.told(1);
  const stop = new AbortController();
  history.held("shop", "till", 5n, stop.signal);
  checkLeases(history, { ...rules, nowMs: 900 });
  const late =
    /shop still took itself to hold till under token 5 at 1500 ms, although its time to live, counted from 0 ms, had passed by 1015/;
  assert.throws(() => checkLeases(history, { ...rules, nowMs: 1_500 }), broken(late));
  const stopped = new ClockRecord();
  for (let at = 0; at < 2_000; at++) stopped.read(at, at, at < 700 || at > 1_200);
  checkLeases(history, { ...rules, nowMs: 1_500, clientClock: () => stopped });
  story.now = 950;
  stop.abort();
  checkLeases(history, { ...rules, nowMs: 1_500 });
});

test("a holder whose clock stood still while it asked does not know from when it holds", async () => {
  const story = new Story();
  story.ask(0, 1, "a", 5n);
  story.renew(100, 1_000, "a", 5n, { sinceAt: 950 });
  story.lose(1_300, 1_310, "a", 5n);
  const history = await story.told(2_000);
  const early = /a .* was told at 1310 ms that it had lost till, which was to be its own until 1935/;
  assert.throws(() => checkLeases(history, { ...rules, nowMs: 2_000 }), broken(early));
  const stopped = new ClockRecord();
  for (let at = 0; at < 2_000; at++) stopped.read(at, at, at < 200 || at > 900);
  checkLeases(history, { ...rules, nowMs: 2_000, clientClock: () => stopped });
});

test("who died takes itself for nothing, and nobody holds what was never granted", async () => {
  const story = new Story();
  story.ask(0, 1, "a", 5n);
  const history = await story.told(10);
  history.held("shop", "till", 5n, new AbortController().signal);
  history.died("shop");
  checkLeases(history, { ...rules, nowMs: 5_000 });
  history.held("shop", "till", 9n, new AbortController().signal);
  assert.throws(() => checkLeases(history, { ...rules, nowMs: 20 }), broken(/token 9, which nobody was granted/));
});

test("those who wait are served in the order of their requests", async () => {
  const served = async (tokenOfB: bigint, tokenOfC: bigint | undefined) => {
    const story = new Story();
    story.ask(0, 1, "a", 5n);
    story.ask(10, 51, "b", tokenOfB, { waitMs: 1_000 });
    story.ask(20, tokenOfC === undefined ? 300 : 52, "c", tokenOfC, { waitMs: 1_000 });
    story.release(50, 53, "a");
    return story.told();
  };
  checkFairness(await served(6n, 7n));
  checkFairness(await served(6n, undefined));
  await assert.rejects(
    served(7n, 6n).then(checkFairness),
    broken(
      /c \(of client-c, token 6\), asking for till at 20 ms, was granted it before b \(of client-b\), which had been waiting since 10 ms and was granted at 51 ms/,
    ),
  );
  const story = new Story();
  story.ask(0, 300, "b", undefined, { waitMs: 300 });
  story.ask(20, 52, "c", 6n, { waitMs: 1_000 });
  const history = await story.told();
  assert.throws(() => checkFairness(history), broken(/was not granted at 300 ms/));
});

test("at rest nobody waits for what is free, or holds what was released", async () => {
  const free: LeaseDescription = { name: "till", holders: [], waiting: 0 };
  const heldBy = (holder: string, token: bigint): LeaseDescription => ({
    name: "till",
    holders: [{ holder, token, weight: 1, data: undefined, expiresAt: 0 }],
    waiting: 1,
  });
  const story = new Story();
  story.ask(0, 1, "a", 5n);
  story.ask(5, undefined, "b", undefined, { waitMs: 5_000 });
  const history = await story.told();
  checkLeasesAtRest(history, [heldBy("a", 5n)]);
  assert.throws(
    () => checkLeasesAtRest(history, [free]),
    broken(/b \(of client-b\) waits for till since 5 ms, although only 0 of it are held/),
  );
  checkLeasesAtRest(history, [free], { died: (client) => client === "client-b" });
  assert.throws(
    () => checkLeasesAtRest(history, [{ ...free, waiting: 2 }], { died: () => true }),
    broken(/2 wait for till/),
  );
  const released = new Story();
  released.ask(0, 1, "a", 5n);
  released.release(5, 6, "a");
  const after = await released.told();
  assert.throws(
    () => checkLeasesAtRest(after, [heldBy("a", 5n)]),
    broken(/a still holds till under token 5, although it had released it by 6 ms/),
  );
});

test("recording changes nothing of what an engine answers", async () => {
  const story = new Story();
  const lost = new TenonError("lost", "the lease is lost");
  const since = { monotonic: 0, wall: 0 };
  const lease = { name: "till", holder: "a", token: 5n, ttlMs, since };
  const engine = {
    capabilities: {},
    acquire: async () => lease,
    renew: () => Promise.reject(lost),
    release: async () => {},
  } as unknown as LeaseEngine;
  const recorded = recordLeases(engine, story.history, "shop");
  assert.equal(await recorded.acquire("till", { holder: "a", ttlMs, waitMs: 0 }), lease);
  await assert.rejects(recorded.renew(lease), lost);
  await recorded.release("till", "a");
  const told = story.history.requests.operations.map(({ input, output }) => [input.type, output?.type]);
  assert.deepEqual(told, [
    ["acquire", "granted"],
    ["renew", "lost"],
    ["release", "released"],
  ]);
});
