import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { engineNames, wellKnown } from "./addresses.ts";
import { allEngines } from "./all-engines.ts";

const read = (path: string): string => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

test("compose.yaml has the engines that the script has, at the same ports", () => {
  const compose = read("compose.yaml");
  const services = /^services:\n([\s\S]*?)^volumes:/m.exec(compose)?.[1] ?? "";
  const names = [...services.matchAll(/^ {2}([a-z-]+):$/gm)].map((match) => match[1]);
  assert.deepEqual(names, [...engineNames]);
  for (const name of engineNames) {
    const [port, ...others] = wellKnown[name].ports;
    if (others.length === 0) assert.ok(services.includes(`"127.0.0.1:${port}:${port}"`), `${name} at ${port}`);
  }
});

test("the document names every engine with its version, its variable and a port", () => {
  const rows = read("docs/engines.md").split("\n");
  for (const { name, version, published, ports } of allEngines) {
    const row = rows.find((line) => line.startsWith(`| \`${name}\` | ${version} |`));
    assert.ok(row !== undefined, `${name} ${version}`);
    assert.ok(row.includes(wellKnown[name].variable), wellKnown[name].variable);
    assert.ok(row.includes(String(ports[published[0]!])), `${name}'s port`);
  }
});

test("the script starts every engine that has an address, at the standard ports when they are free", () => {
  assert.deepEqual(allEngines.map(({ name }) => name).sort(), [...engineNames].sort());
  for (const { name, published, ports } of allEngines)
    assert.deepEqual(
      published.map((port) => ports[port]),
      wellKnown[name].ports,
    );
});
