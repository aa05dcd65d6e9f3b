/** What holds a process that uses `remote()` while its server is away: promises that somebody awaits, and nothing else. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

/** Runs the text as a program of its own, with an `engine` whose server has gone. */
function duringAnOutage(text: string): { readonly code: number | null; readonly out: string } {
  const program = `
    import { memory } from "tenon/embedded";
    import { remote, serve } from "tenon/remote";
    const served = await memory();
    const server = await serve(served, { port: 0 });
    const engine = await remote(server.address, { requestTimeoutMs: 300 });
    const told = (promise) => promise.then(console.log, ({ code, outcome }) => console.log(code, outcome));
    const goAway = async () => {
      await server.close();
      await served.close();
      await new Promise((resolve) => setTimeout(resolve, 50));
    };
    ${text}
  `;
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ["--conditions=source", "--input-type=module", "--eval", program],
    { encoding: "utf8", timeout: 30_000, cwd: new URL("..", import.meta.url) },
  );
  return { code: status, out: stdout + stderr };
}

test("a call that is awaited during an outage is answered", () => {
  const { code, out } = duringAnOutage("await goAway(); await told(engine.keyValue.get(['n']));");
  assert.equal(code, 0, out);
  assert.match(out, /^unavailable not-applied$/m);
});

test("a lease that is waited for during an outage is answered", () => {
  const { code, out } = duringAnOutage(
    "await goAway(); await told(engine.leases.acquire('a', { holder: 'b', ttlMs: 1_000, waitMs: 700 }));",
  );
  assert.equal(code, 0, out);
  assert.match(out, /^unavailable /m);
});

test("a member that waits for a lane outlives an outage", () => {
  const { code, out } = duringAnOutage(`
    await engine.messages.declare("orders", { partitions: 1, groups: ["all"] });
    const member = await engine.messages.join("orders", "all", { sessionMs: 200, revokeMs: 200, windowMax: 16 });
    const { partition } = await member.nextLane();
    await server.close();
    const lane = member.nextLane();
    const { port } = server.address;
    setTimeout(async () => {
      const next = await serve(served, { port });
      console.log((await lane).partition === partition);
      await engine.close();
      await next.close();
    }, 1_000).unref();
    await lane;
  `);
  assert.equal(code, 0, out);
  assert.match(out, /^true$/m);
});

test("closing during an outage ends", () => {
  const { code, out } = duringAnOutage("await goAway(); await engine.close(); console.log('closed');");
  assert.equal(code, 0, out);
  assert.match(out, /^closed$/m);
});

test("nobody who waits, nothing that holds the process", () => {
  const { code, out } = duringAnOutage("await told(engine.keyValue.get(['n'])); await goAway();");
  assert.equal(code, 0, out);
});
