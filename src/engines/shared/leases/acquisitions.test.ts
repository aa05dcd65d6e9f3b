import assert from "node:assert/strict";
import { test } from "node:test";
import { type Outcome, TenonError } from "../../../contracts/errors.ts";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Lease } from "../../../contracts/leases.ts";
import { systemWorld } from "../../../world/system/system-world.ts";
import type { Answer } from "./acquisition.ts";
import { Acquisitions } from "./acquisitions.ts";

const asked: ValidRequest = { holder: "a", ttlMs: 10_000, waitMs: 60_000, capacity: 1, weight: 1, data: undefined };
const since = { monotonic: 0, wall: 0 };
const lease: Lease = { name: "name", holder: "a", token: 1n, ttlMs: 10_000, since };
const waiting: Answer = { type: "waiting", askAgainMs: 10_000 };

/** A server whose answers are given by hand; what it was asked and told, in order. */
class Server {
  readonly heard: string[] = [];
  readonly #open: PromiseWithResolvers<Answer>[] = [];
  readonly acquisitions = new Acquisitions({
    world: systemWorld(),
    asking: () => () => {
      this.heard.push("ask");
      const asked = Promise.withResolvers<Answer>();
      this.#open.push(asked);
      return asked.promise;
    },
    leave: async (_name, _holder, what) => {
      this.heard.push(`leave ${what}`);
    },
  });

  async answer(answer: Answer): Promise<void> {
    this.#open.shift()!.resolve(answer);
    await turns();
  }

  async fail(outcome: Outcome): Promise<void> {
    this.#open.shift()!.reject(new TenonError("unavailable", "The server is away.", { outcome }));
    await turns();
  }

  /** Starts a wait that stands in line. */
  async queue(): Promise<{ readonly lease: Promise<unknown>; readonly abort: () => void }> {
    const controller = new AbortController();
    const acquired = this.acquisitions.acquire("name", asked, controller.signal);
    const settled = acquired.catch((error) => error);
    await this.answer(waiting);
    return { lease: settled, abort: () => controller.abort("gone") };
  }
}

/** Lets everything that is ready happen. */
async function turns(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await undefined;
}

test("who is handed the lease has not asked again, and nothing is given back", async () => {
  const server = new Server();
  const waits = await server.queue();
  server.acquisitions.offer("name", "a")!.handOver(lease);
  assert.equal(await waits.lease, lease);
  assert.deepEqual(server.heard, ["ask"]);
  assert.equal(server.acquisitions.offer("name", "a"), undefined);
});

test("who has gone before the lease reached it gives it back", async () => {
  const server = new Server();
  const waits = await server.queue();
  const offer = server.acquisitions.offer("name", "a")!;
  waits.abort();
  assert.equal(await waits.lease, "gone");
  assert.equal(server.acquisitions.offer("name", "a"), undefined, "nobody is there to be granted anything");
  assert.deepEqual(server.heard, ["ask"], "what is under way is looked at when it is known what came of it");
  offer.handOver(lease);
  assert.deepEqual(server.heard, ["ask", "leave all"]);
});

test("who has gone while nobody knows whether it was granted leaves its place, too", async () => {
  const server = new Server();
  const waits = await server.queue();
  const offer = server.acquisitions.offer("name", "a")!;
  waits.abort();
  offer.handOver(undefined);
  assert.deepEqual(server.heard, ["ask", "leave all"]);
});

test("who still waits asks when an offer came to nothing", async () => {
  const server = new Server();
  const waits = await server.queue();
  server.acquisitions.offer("name", "a")!.handOver(undefined);
  await turns();
  assert.deepEqual(server.heard, ["ask", "ask"]);
  await server.answer({ type: "granted", lease, isNew: false });
  assert.equal(await waits.lease, lease);
});

test("what is released while it is handed over is not given back a second time", async () => {
  const server = new Server();
  const waits = await server.queue();
  const offer = server.acquisitions.offer("name", "a")!;
  server.acquisitions.give("name", "a");
  offer.handOver(lease);
  assert.equal(await waits.lease, undefined);
  assert.deepEqual(server.heard, ["ask"]);
});

test("what was released stays so when a question fails that was under way", async () => {
  const server = new Server();
  const waits = await server.queue();
  const offer = server.acquisitions.offer("name", "a")!;
  server.acquisitions.wake("name", "a");
  await turns();
  server.acquisitions.give("name", "a");
  await server.fail("unknown");
  offer.handOver(lease);
  assert.equal(await waits.lease, undefined);
  assert.deepEqual(server.heard, ["ask", "ask"]);
});

test("who asks anew for a holder that has gone is granted nothing that is then given back", async () => {
  for (const way of ["asked", "offered"] as const) {
    const server = new Server();
    const waits = await server.queue();
    const offer = way === "offered" ? server.acquisitions.offer("name", "a") : undefined;
    if (offer === undefined) server.acquisitions.wake("name", "a");
    await turns();
    waits.abort();
    const again = server.acquisitions.acquire("name", asked, undefined);
    await turns();
    if (offer === undefined) await server.answer({ type: "granted", lease, isNew: true });
    else offer.handOver(lease);
    await turns();
    assert.deepEqual(server.heard.slice(-2), ["leave all", "ask"], way);
    await server.answer({ type: "granted", lease: { ...lease, token: 2n }, isNew: true });
    assert.equal((await again)?.token, 2n);
  }
});

test("who goes after an offer of which nobody knows what came gives back all", async () => {
  const server = new Server();
  const waits = await server.queue();
  // A release of the one before it granted the name, and the answer to that release was lost.
  server.acquisitions.offer("name", "a")!.handOver(undefined);
  waits.abort();
  assert.equal(await waits.lease, "gone");
  await turns();
  assert.deepEqual(server.heard, ["ask", "leave all"]);
});

test("who goes while it asks what came of an offer gives back what it was granted", async () => {
  const server = new Server();
  const waits = await server.queue();
  server.acquisitions.offer("name", "a")!.handOver(undefined);
  await turns();
  waits.abort();
  await server.answer({ type: "granted", lease, isNew: false });
  assert.deepEqual(server.heard, ["ask", "ask", "leave all"]);
});

test("who is passed over stands in line as before, and asks nothing", async () => {
  const server = new Server();
  const waits = await server.queue();
  const offer = server.acquisitions.offer("name", "a")!;
  offer.passOver();
  await turns();
  assert.deepEqual(server.heard, ["ask"]);
  server.acquisitions.offer("name", "a")!.handOver(lease);
  assert.equal(await waits.lease, lease);
});

test("who has gone before it was passed over leaves its place", async () => {
  const server = new Server();
  const waits = await server.queue();
  const offer = server.acquisitions.offer("name", "a")!;
  waits.abort();
  assert.deepEqual(server.heard, ["ask"]);
  offer.passOver();
  assert.deepEqual(server.heard, ["ask", "leave place"]);
});

test("who was granted it keeps it, whatever comes of other offers", async () => {
  for (const later of ["handed over", "unknown", "passed over"] as const) {
    const server = new Server();
    const waits = await server.queue();
    const offers = [1, 2].map(() => server.acquisitions.offer("name", "a")!);
    offers[0]!.handOver(lease);
    if (later === "passed over") offers[1]!.passOver();
    else offers[1]!.handOver(later === "unknown" ? undefined : lease);
    assert.equal(await waits.lease, lease);
    await turns();
    assert.deepEqual(server.heard, ["ask"], later);
  }
});

test("who was granted it when it asked keeps it, whatever comes of an offer", async () => {
  const server = new Server();
  const waits = await server.queue();
  const offer = server.acquisitions.offer("name", "a")!;
  server.acquisitions.wake("name", "a");
  await turns();
  await server.answer({ type: "granted", lease, isNew: true });
  offer.handOver(undefined);
  assert.equal(await waits.lease, lease);
  assert.deepEqual(server.heard, ["ask", "ask"]);
});

test("who has gone is looked at when the last offer is answered", async () => {
  const server = new Server();
  const waits = await server.queue();
  const offers = [1, 2].map(() => server.acquisitions.offer("name", "a")!);
  waits.abort();
  offers[0]!.passOver();
  assert.deepEqual(server.heard, ["ask"]);
  offers[1]!.handOver(lease);
  assert.deepEqual(server.heard, ["ask", "leave all"]);
});

test("those who ask for a name are known in the order of asking", async () => {
  const server = new Server();
  const { acquisitions } = server;
  const holdersOf = (name: string) => [...(acquisitions.of(name) ?? [])].map(({ request }) => request.holder);
  assert.deepEqual(holdersOf("name"), []);
  for (const holder of ["b", "a", "c"]) void acquisitions.acquire("name", { ...asked, holder }, undefined);
  void acquisitions.acquire("other", asked, undefined);
  assert.deepEqual(holdersOf("name"), ["b", "a", "c"]);
  acquisitions.give("name", "a");
  assert.deepEqual([holdersOf("name"), holdersOf("other")], [["b", "c"], ["a"]]);
  acquisitions.give("name", "b");
  acquisitions.give("name", "c");
  assert.deepEqual(holdersOf("name"), []);
});

test("who asks because nobody knows what came of an offer keeps what a further offer has brought meanwhile", async () => {
  const server = new Server();
  const waits = await server.queue();
  server.acquisitions.offer("name", "a")!.handOver(undefined);
  const offer = server.acquisitions.offer("name", "a")!;
  await turns();
  offer.handOver(lease);
  assert.equal(await waits.lease, lease);
  await server.answer({ type: "granted", lease, isNew: false });
  assert.deepEqual(server.heard, ["ask", "ask"]);
});

test("an answer to what was asked before an offer says nothing of what came of that", async () => {
  for (const way of ["goes", "asks and goes"] as const) {
    const server = new Server();
    const waits = await server.queue();
    server.acquisitions.wake("name", "a");
    await turns();
    server.acquisitions.offer("name", "a")!.handOver(undefined);
    if (way === "goes") waits.abort();
    await server.answer(waiting);
    if (way === "asks and goes") {
      waits.abort();
      await server.answer({ type: "granted", lease, isNew: false });
    }
    assert.equal(server.heard.at(-1), "leave all", way);
  }
});

test("who asks what came of an offer, and asks in vain, is told that nobody knows", async () => {
  const server = new Server();
  const waits = await server.queue();
  server.acquisitions.offer("name", "a")!.handOver(undefined);
  await turns();
  await server.fail("not-applied");
  const error = (await waits.lease) as TenonError;
  assert.deepEqual([error.code, error.outcome], ["unavailable", "unknown"]);
  // As after any unknown outcome it asks again under this holder, or releases it.
  assert.deepEqual(server.heard, ["ask", "ask"]);
});

test("who asks in vain is told that nothing was done where nothing was offered before", async () => {
  const server = new Server();
  const waits = await server.queue();
  server.acquisitions.wake("name", "a");
  await turns();
  await server.fail("not-applied");
  assert.equal(((await waits.lease) as TenonError).outcome, "not-applied");
});

test("who has gone before its question failed gives up what it may have", async () => {
  for (const [offered, outcome, left] of [
    [false, "not-applied", "leave place"],
    [false, "unknown", "leave all"],
    [true, "not-applied", "leave all"],
  ] as const) {
    const server = new Server();
    const waits = await server.queue();
    if (offered) server.acquisitions.offer("name", "a")!.handOver(undefined);
    else server.acquisitions.wake("name", "a");
    await turns();
    waits.abort();
    await server.fail(outcome);
    assert.deepEqual(server.heard, ["ask", "ask", left]);
  }
});

test("when all is over, places are given up, and what is under way is waited for and given back", async () => {
  const reason = new TenonError("closed", "The engine was closed.");
  const server = new Server();
  const idle = await server.queue();
  await server.acquisitions.end(reason);
  assert.deepEqual(await idle.lease, reason);
  assert.deepEqual(server.heard, ["ask", "leave place"]);
  for (const way of ["asked", "offered"] as const) {
    const server = new Server();
    const waits = await server.queue();
    const offer = way === "offered" ? server.acquisitions.offer("name", "a")! : undefined;
    server.acquisitions.wake("name", "a");
    await turns();
    let isOver = false;
    const ended = server.acquisitions.end(reason).then(() => {
      isOver = true;
    });
    const { code, outcome } = (await waits.lease) as TenonError;
    assert.deepEqual([code, outcome], ["closed", "unknown"]);
    await turns();
    assert.equal(isOver, false);
    await server.answer(offer === undefined ? { type: "granted", lease, isNew: true } : waiting);
    assert.equal(isOver, offer === undefined);
    offer?.handOver(lease);
    await ended;
    assert.equal(server.heard.at(-1), "leave all", way);
  }
});
