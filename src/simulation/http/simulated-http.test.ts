import assert from "node:assert/strict";
import { test } from "node:test";
import { systemWorld } from "../../world/index.ts";
import { NetworkError, type World } from "../../world/world.ts";
import { calmNetwork } from "../network/network-control.ts";
import { simulate } from "../simulate.ts";
import type { ProcessHandle, SimulatedSystem } from "../system.ts";
import { fetchOver, type HttpHandler, serveHttp } from "./simulated-http.ts";

const forever = (): Promise<never> => new Promise(() => {});

type Body = NonNullable<RequestInit["body"]>;

interface Stage {
  readonly client: World;
  readonly url: string;
}

/** The same between two simulated processes and within the real one. */
const HOSTS: Readonly<Record<string, (handle: HttpHandler, body: (stage: Stage) => Promise<void>) => Promise<void>>> = {
  simulated: async (handle, body) => {
    await simulate({ seed: 1 }, async (system) => {
      system.process("shop", ({ world }) => serveHttp(world, {}, handle));
      await system.processes[0]!.ended;
      const client = system.process("client", async ({ world }) => body({ client: world, url: "http://shop" }));
      await client.ended;
    });
  },
  real: async (handle, body) => {
    const client = systemWorld();
    const server = await serveHttp(client, { host: "127.0.0.1", port: 0 }, handle);
    await body({ client, url: `http://127.0.0.1:${server.address.port}` });
    await server.close();
  },
};

function everywhere(behaviour: string, handle: HttpHandler, body: (stage: Stage) => Promise<void>): void {
  for (const [name, host] of Object.entries(HOSTS)) test(`${name}: ${behaviour}`, () => host(handle, body));
}

async function echo(request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const body = await request.text();
  return Response.json({
    line: `${request.method} ${pathname}${search}`,
    type: request.headers.get("content-type"),
    sizeBytes: request.headers.get("content-length"),
    body,
  });
}

everywhere("a request arrives as it was made, and so does its response", echo, async ({ client, url }) => {
  const fetch = fetchOver(client);
  const got = await fetch(`${url}/orders?after=7`);
  assert.equal(got.status, 200);
  assert.equal(got.url, `${url}/orders?after=7`);
  assert.equal((await fetch(`${url}/#end`)).url, `${url}/`);
  assert.equal(got.headers.get("content-type"), "application/json");
  assert.deepEqual(await got.json(), { line: "GET /orders?after=7", type: null, sizeBytes: null, body: "" });
  const request = new Request(`${url}/orders`, {
    method: "PUT",
    body: "größer",
    headers: { "content-type": "text/x" },
  });
  const put = await fetch(request);
  assert.deepEqual(await put.json(), { line: "PUT /orders", type: "text/x", sizeBytes: "8", body: "größer" });
});

everywhere(
  "bodies of every kind go both ways",
  async (request) => new Response(request.body),
  async ({ client, url }) => {
    const form = new FormData();
    form.set("name", "ann");
    form.set("file", new Blob(["content"]));
    const bodies: readonly Body[] = [
      "text",
      new Uint8Array(300_000).fill(7),
      new URLSearchParams({ a: "b c" }),
      new Blob(["blob"]),
      form,
      new ReadableStream({
        start(controller) {
          for (const part of ["one", "two"]) controller.enqueue(Buffer.from(part));
          controller.close();
        },
      }),
    ];
    for (const body of bodies) {
      const sent = new Request(url, { method: "POST", body, duplex: "half" });
      const expected = new Uint8Array(await sent.clone().arrayBuffer());
      const response = await fetchOver(client)(sent);
      assert.deepEqual(new Uint8Array(await response.arrayBuffer()), expected);
    }
  },
);

everywhere(
  "statuses, repeated headers and absent bodies are kept",
  (request) => {
    if (request.method === "HEAD") return new Response("not for you", { headers: { etag: "7" } });
    const headers = new Headers([
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
    ]);
    return new Response(null, { status: 204, statusText: "Nothing", headers });
  },
  async ({ client, url }) => {
    const response = await fetchOver(client)(url, { method: "DELETE" });
    assert.deepEqual([response.status, response.statusText, response.body], [204, "Nothing", null]);
    assert.deepEqual(response.headers.getSetCookie(), ["a=1", "b=2"]);
    const head = await fetchOver(client)(url, { method: "HEAD" });
    assert.deepEqual([head.status, head.headers.get("etag"), await head.text()], [200, "7", ""]);
  },
);

everywhere(
  "a handler that throws is answered for with 500",
  () => {
    throw new Error("broken");
  },
  async ({ client, url }) => {
    const response = await fetchOver(client)(url);
    assert.deepEqual([response.status, await response.text()], [500, "Internal Server Error"]);
  },
);

const seen: AbortSignal[] = [];
everywhere(
  "an aborted request rejects with the signal's reason, and the handler hears that nobody waits any more",
  async (request, { signal }) => {
    seen.push(request.signal);
    for (const ask of asked.splice(0)) ask();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    return new Response("too late");
  },
  async ({ client, url }) => {
    const reason = new Error("enough");
    await assert.rejects(fetchOver(client)(url, { signal: AbortSignal.abort(reason) }), reason);
    const controller = new AbortController();
    const started = new Promise<void>((resolve) => asked.push(resolve));
    const fetching = fetchOver(client)(url, { signal: controller.signal });
    await started;
    controller.abort(reason);
    await assert.rejects(fetching, reason);
    const signal = seen.pop()!;
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  },
);
const asked: (() => void)[] = [];

everywhere("a host that does not listen rejects as fetch does", echo, async ({ client, url }) => {
  const { hostname } = new URL(url);
  const failing = fetchOver(client)(`http://${hostname}:9/`);
  await assert.rejects(failing, (error: Error) => {
    assert.deepEqual([error.name, error.message], ["TypeError", "fetch failed"]);
    assert.ok(error.cause instanceof NetworkError);
    assert.equal(error.cause.failure, "refused");
    return true;
  });
  await assert.rejects(fetchOver(client)("https://shop/"), { name: "TypeError", message: "fetch failed" });
  await assert.rejects(fetchOver(client)("/orders"), { name: "TypeError" });
});

test("a process is found by its name whatever its capital letters", async () => {
  await simulate({ seed: 1 }, async (system) => {
    const shop = system.process("WebShop", ({ world }) => serveHttp(world, {}, echo));
    await shop.ended;
    const client = system.process("client", async ({ world }) => {
      for (const name of ["WebShop", "webshop"]) assert.equal((await fetchOver(world)(`http://${name}/`)).status, 200);
      await world.network.connect({ host: "WEBSHOP", port: 80 });
    });
    await client.ended;
  });
});

interface Pair {
  readonly system: SimulatedSystem;
  readonly shop: ProcessHandle;
  /** `fetch` of the client. */
  readonly ask: (path: string) => Promise<Response>;
}

function pair(handle: HttpHandler, body: (pair: Pair) => Promise<void>, quietEndChance = 0): Promise<unknown> {
  return simulate({ seed: 1, safetyMs: 600_000 }, async (system) => {
    system.network.settings = { ...calmNetwork, quietEndChance };
    const shop = system.process("shop", async ({ world }) => {
      await serveHttp(world, {}, handle);
      await forever();
    });
    const client = system.process("client", forever);
    await system.sleep(1);
    await body({ system, shop, ask: (path) => client.run(({ world }) => fetchOver(world)(`http://shop${path}`)) });
  });
}

for (const quietEndChance of [0, 1]) {
  test(`a server that dies while it works fails its requests, with ends that are ${quietEndChance === 1 ? "quiet" : "loud"}`, async () => {
    await pair(
      forever,
      async ({ system, shop, ask }) => {
        const asking = ask("/");
        await system.sleep(100);
        shop.crash("process");
        await assert.rejects(
          asking,
          (error: Error) => error.cause instanceof NetworkError && error.cause.failure === "broken",
        );
        shop.restart();
        await system.sleep(10);
        assert.deepEqual(system.network.connections, []);
      },
      quietEndChance,
    );
  });
}

test("a response that is lost fails a request that was carried out", async () => {
  let handled = 0;
  let block = (): void => {};
  const handle = () => {
    handled += 1;
    block();
    return new Response("done");
  };
  await pair(handle, async ({ system, ask }) => {
    block = () => system.network.block("shop", "client");
    const startedAtMs = system.nowMs;
    await assert.rejects(ask("/"), (error: Error) => /did not answer within 300000 ms/.test(String(error.cause)));
    assert.ok(system.nowMs - startedAtMs >= 300_000 && system.nowMs - startedAtMs < 300_010);
    assert.equal(handled, 1);
  });
});

test("closing a server lets what is under way be answered, and leaves nothing open", async () => {
  await simulate({ seed: 1, safetyMs: 600_000 }, async (system) => {
    const shop = system.process("shop", async ({ world }) => {
      const server = await serveHttp(world, { port: 8080 }, async () => {
        await world.timers.sleep(1_000);
        return new Response("late, but there");
      });
      await world.timers.sleep(500);
      await server.close();
      assert.ok(world.clock.monotonic() > 1_000);
    });
    const client = system.process("client", async ({ world }) => {
      await world.network.connect({ host: "shop", port: 8080 });
      await world.timers.sleep(100);
      const first = await fetchOver(world)("http://shop:8080/");
      assert.equal(await first.text(), "late, but there");
      await assert.rejects(fetchOver(world)("http://shop:8080/"), { message: "fetch failed" });
    });
    await Promise.all([shop.ended, client.ended]);
    await system.sleep(10);
    assert.deepEqual(system.network.connections, []);
  });
});

test("many requests under faults are a deterministic run", async () => {
  const run = (seed: number) =>
    simulate({ seed, faults: "performance", safetyMs: 20_000 }, async (system) => {
      const answers: string[] = [];
      system.process("shop", async ({ world }) => {
        await serveHttp(world, {}, async (request) => {
          await world.timers.sleep(10);
          return Response.json({ got: await request.json() });
        });
        await forever();
      });
      const client = system.process("client", async ({ world }) => {
        for (let count = 0; count < 100; count++) {
          try {
            const signal = AbortSignal.timeout(1_000);
            const response = await fetchOver(world)("http://shop/", { method: "POST", body: `${count}`, signal });
            answers.push(`${count} ${response.status} ${await response.text()}`);
          } catch (error) {
            answers.push(`${count} ${error}`);
          }
          await world.timers.sleep(100);
        }
      });
      await client.ended;
      system.note(answers.join("\n"));
    });
  for (const seed of [1, 2]) assert.deepEqual(await run(seed), await run(seed));
});

test("reading a body settles within one turn of the event loop, unless it is made of blobs", async () => {
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const bodies: readonly Body[] = ["text", new Uint8Array(1_000_000), new URLSearchParams({ a: "b" })];
  for (const body of bodies) {
    let read = false;
    const reading = new Response(body).arrayBuffer().then(() => {
      read = true;
    });
    await turn();
    assert.ok(read);
    await reading;
  }
});
