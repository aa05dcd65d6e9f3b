import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { addressesFile, engineAddress, engineNames, parseUrls, readAddresses, writeAddresses } from "./addresses.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tenon-addresses-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

const environment = (more: Record<string, string> = {}) => ({ TENON_ENGINES_DIR: directory, ...more });

test("without variables and without a file every engine is at its standard port on loopback", () => {
  for (const name of engineNames) {
    const { urls, source } = engineAddress(name, environment());
    assert.equal(source, "the standard port");
    assert.ok(urls.every((url) => new URL(url).hostname === "127.0.0.1"));
  }
  assert.equal(engineAddress("postgres", environment()).url, "postgres://tenon:tenon@127.0.0.1:5432/tenon");
  assert.equal(engineAddress("redis-quorum", environment()).urls.length, 5);
});

test("what was written goes before the standard port", () => {
  writeAddresses(addressesFile(environment()), { redis: ["redis://127.0.0.1:7379"] });
  assert.equal(engineAddress("redis", environment()).url, "redis://127.0.0.1:7379");
  assert.equal(engineAddress("redis", environment()).source, "npm run engines");
  assert.equal(engineAddress("nats", environment()).source, "the standard port");
});

test("a variable goes before what was written", () => {
  writeAddresses(addressesFile(environment()), { redis: ["redis://127.0.0.1:7379"] });
  const address = engineAddress("redis", environment({ TENON_REDIS_URL: "redis://:secret@cache:6379/2" }));
  assert.equal(address.url, "redis://:secret@cache:6379/2");
  assert.equal(address.source, "TENON_REDIS_URL");
});

test("an empty variable counts as none", () => {
  assert.equal(engineAddress("redis", environment({ TENON_REDIS_URL: "" })).source, "the standard port");
});

test("a list by commas may leave out the scheme", () => {
  assert.deepEqual(parseUrls("redis-cluster", "a:7000, redis://b:7001,"), ["redis://a:7000", "redis://b:7001"]);
});

test("a variable that is no address is refused by its name, and its value is not shown", () => {
  assert.throws(
    () => engineAddress("postgres", environment({ TENON_POSTGRES_URL: "postgres://u:hidden@ :x" })),
    (error: Error) => error.message.includes("TENON_POSTGRES_URL") && !error.message.includes("hidden"),
  );
  assert.throws(() => parseUrls("redis", " , "), /TENON_REDIS_URL/);
});

test("sentinels call the primary tenon, unless the variable says otherwise", () => {
  assert.equal(engineAddress("redis-sentinel", environment()).primaryName, "tenon");
  assert.equal(engineAddress("redis-sentinel", environment({ TENON_REDIS_SENTINEL_NAME: "main" })).primaryName, "main");
});

test("a file that was damaged is refused with what to do", () => {
  const file = join(directory, "addresses.json");
  writeFileSync(file, '{"redis": "redis://127.0.0.1:6379"}');
  assert.throws(() => readAddresses(file), /npm run engines/);
});

test("a folder is relative to the repository unless it is absolute", () => {
  assert.equal(addressesFile({ TENON_ENGINES_DIR: "/elsewhere" }), "/elsewhere/addresses.json");
  assert.match(addressesFile({}), /[^/]\/\.engines\/addresses\.json$/);
});
