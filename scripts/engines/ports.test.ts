import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";
import { choosePort, isPortFree } from "./ports.ts";

const allFree = async (): Promise<boolean> => true;

test("a free standard port is chosen", async () => {
  assert.equal(await choosePort(6379, new Set(), allFree), 6379);
});

test("a port that somebody listens on is passed over", async () => {
  assert.equal(await choosePort(6379, new Set(), async (port) => port !== 6379 && port !== 7379), 8379);
});

test("a port that was promised to another engine is passed over, although nobody listens on it yet", async () => {
  assert.equal(await choosePort(7000, new Set([7000, 8000]), allFree), 9000);
});

test("ports of outgoing connections are never chosen, so lower ones stand in", async () => {
  assert.equal(await choosePort(32_500, new Set([32_500]), allFree), 31_500);
});

test("when every candidate is taken the error names the port", async () => {
  await assert.rejects(
    choosePort(5432, new Set(), async () => false),
    /5432/,
  );
});

test("a port is free when nobody listens there, and not free while somebody does", async () => {
  const server = createServer();
  await new Promise<void>((settle) => server.listen(0, "127.0.0.1", settle));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  assert.equal(await isPortFree(address.port), false);
  await new Promise((settle) => server.close(settle));
  assert.equal(await isPortFree(address.port), true);
});
