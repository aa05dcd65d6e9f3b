// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the samples are source code.
import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { breachesOf, machinePathsIn } from "./tidy/rules.ts";
import { importsOf, readSource } from "./tidy/source-code.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const files = (pattern: string): string[] =>
  globSync(pattern, { cwd: root, exclude: (name) => /^(node_modules|dist|results)$/.test(name) });
const read = (path: string): string => readFileSync(`${root}/${path}`, "utf8");

test("src keeps its directions, asks the world, and is named and cut as agreed", () => {
  const sources = files("src/**/*.ts");
  assert.ok(sources.length > 20);
  assert.deepEqual(
    sources.flatMap((path) => breachesOf(path, read(path))),
    [],
  );
});

test("no file mentions a path of somebody's machine", () => {
  const all = files("{*.md,*.json,.ci/*,{src,test,docs,examples,bench,scripts}/**/*.{ts,mjs,json,md}}");
  assert.ok(all.includes("package.json"));
  assert.deepEqual(
    all.flatMap((path) => machinePathsIn(path, read(path))),
    [],
  );
});

test("examples use the package by its public entries", () => {
  const breaches = files("examples/**/*.ts").flatMap((path) =>
    importsOf(readSource(read(path)))
      .filter(({ specifier }) => specifier?.includes("/src/"))
      .map(({ specifier, line }) => `${path}:${line}: imports ${specifier}`),
  );
  assert.deepEqual(breaches, []);
});

/** Each breaks one rule, at the path before it. */
const bad: readonly (readonly [path: string, code: string])[] = [
  ["src/messaging/topic.ts", 'import { memory } from "../engines/embedded/index.ts";'],
  ["src/messaging/topic.ts", 'import type { Memory } from "../engines/embedded/index.ts";'],
  ["src/messaging/topic.ts", 'export * from "../key-value/index.ts";'],
  ["src/messaging/topic.ts", 'await import("../simulation/index.ts");'],
  ["src/messaging/topic.ts", "await import(name);"],
  ["src/cli/main.ts", "await import(name);"],
  ["src/cli/tenon.ts", "process.exit(1);"],
  ["src/messaging/topic.ts", 'import { a } from "./other.test.ts";'],
  ["src/messaging/topic.ts", 'import { a } from "./other.js";'],
  ["src/messaging/topic.ts", 'import { a } from "tenon/ids";'],
  ["src/messaging/topic.test.ts", 'import { a } from "tenon/ids";'],
  ["src/engines/embedded/a.ts", 'import { topic } from "../../messaging/index.ts";'],
  ["src/engines/embedded/a.ts", 'import { sqlite } from "../sqlite/index.ts";'],
  ["src/engines/sqlite/a.ts", 'import { DatabaseSync } from "node:sqlite";'],
  ["src/engines/redis/a.ts", 'import { Pool } from "pg";'],
  ["src/engines/lanes/a.ts", 'import { redis } from "../redis/index.ts";'],
  ["src/engines/relational/a.ts", 'import { postgresTables } from "../postgres/index.ts";'],
  ["src/engines/lanes/a.ts", 'import { Session } from "../relational/session.ts";'],
  ["src/engines/shared/a.ts", 'import { Member } from "../lanes/index.ts";'],
  ["src/messaging/topic.ts", 'import { Member } from "../engines/lanes/index.ts";'],
  ["src/contracts/log.ts", 'import type { World } from "../world/index.ts";'],
  ["src/world/world.ts", 'import { topic } from "../messaging/index.ts";'],
  ["src/simulation/a.ts", 'import { memory } from "../engines/embedded/index.ts";'],
  ["src/conformance/a.ts", 'import { memory } from "../engines/embedded/index.ts";'],
  ["src/index.ts", 'export * from "./engines/embedded/index.ts";'],
  ["src/codec/a.ts", 'import { x } from "../messaging/index.ts";'],
  ["src/stray.ts", 'import { x } from "./messaging/index.ts";'],
  ...[
    "fs",
    "fs/promises",
    "net",
    "timers",
    "timers/promises",
    "child_process",
    "worker_threads",
    "http",
    "sqlite",
    "os",
    "crypto",
    "process",
  ].map((name) => ["src/ids/a.ts", `import * as it from "node:${name}";`] as const),
  ["src/simulation/a.ts", 'import "node:timers";'],
  ["src/simulation/a.ts", "setTimeout(fn, 1);"],
  ["src/simulation/a.ts", "process.exit();"],
  ["src/simulation/builtins/builtin-timers.ts", 'import "node:fs";'],
  ["src/simulation/builtins/builtin-timers.ts", "const now = Date.now();"],
  ["src/simulation/builtins/builtin-clocks.ts", "setTimeout(fn, 1);"],
  ["src/simulation/builtins/builtin-clocks.ts", "console.log(1);"],
  ["src/ids/builtin-timers.ts", 'import "node:timers";'],
  ["src/ids/a.ts", "setImmediate(fn);"],
  ["src/ids/a.ts", "const now = Date.now();"],
  ["src/ids/a.ts", "const now = new Date();"],
  ["src/ids/a.ts", "const now = new Date(5);"],
  ["src/ids/a.ts", "const { now } = Date;"],
  ["src/ids/a.ts", "performance.now();"],
  ["src/ids/a.ts", "const a = `${`${Math.random()}`}`;"],
  ["src/ids/a.ts", "setInterval(fn, 1);"],
  ["src/ids/a.ts", "const later = setTimeout;"],
  ["src/ids/a.ts", "process.exit();"],
  ["src/ids/a.ts", 'process["env"];'],
  ["src/ids/a.ts", "crypto.randomUUID();"],
  ["src/ids/a.ts", "crypto.getRandomValues(a);"],
  ["src/ids/a.ts", "globalThis.x;"],
  ["src/ids/a.ts", 'const a = await fetch("http://a");'],
  ["src/ids/a.ts", 'send(fetch("http://a"));'],
  ["src/ids/a.ts", "AbortSignal.timeout(5);"],
  ["src/ids/a.ts", 'const a = b / c; // "\nconsole.log(a); // " / '],
  ["src/world/system/a.ts", "console.log(1);"],
  ["src/ids/a.ts", "export default 5;"],
  ["src/ids/a.ts", "interface IClock {}"],
  ["src/ids/a.ts", "class ClockImpl {}"],
  ["src/ids/someName.ts", ""],
  ["src/ids/Some/a.ts", ""],
  ["src/ids/time-utils.ts", ""],
  ["src/ids/helpers.ts", ""],
  ["src/ids/a.ts", "\n".repeat(501)],
];

test("each rule finds what breaks it", () => {
  for (const [path, code] of bad) assert.equal(breachesOf(path, code).length, 1, `${path}: ${code}`);
});

/** Each looks like a breach and is none. */
const good: readonly (readonly [path: string, code: string])[] = [
  [
    "src/messaging/topic.ts",
    'import type { World } from "../world/index.ts";\nimport { json } from "../codec/index.ts";\nexport * from "./names.ts";',
  ],
  [
    "src/engines/kafka/a.ts",
    'import { progress } from "../lanes/index.ts";\nimport { assert } from "../../contracts/index.ts";',
  ],
  ["src/conformance/a.ts", 'import { topic } from "../messaging/index.ts";'],
  [
    "src/messaging/topic.test.ts",
    'import { memory } from "../engines/embedded/index.ts";\nimport "node:fs";\nDate.now(); console.log(1);',
  ],
  ["src/engines/redis/scripts.ts", `// Made by scripts/lua.ts\n${"\n".repeat(501)}`],
  ["src/world/system/a.ts", 'import "node:fs"; Date.now(); setTimeout(fn, 1); process.pid;'],
  ["src/simulation/a.ts", "setImmediate(fn);"],
  ["src/simulation/builtins/builtin-timers.ts", 'import "node:timers";\nglobalThis.setImmediate;'],
  ["src/simulation/builtins/builtin-clocks.ts", "const now = Date.now(); performance.now(); process.uptime();"],
  ["src/simulation/a.ts", "function crash(process: SimulatedProcess) { process.crash(); }"],
  ["src/engines/kafka/a.ts", "interface Lane {\n  fetch(limit: number): void;\n}\nclass A {\n  async fetch() {}\n}"],
  [
    "src/ids/a.ts",
    '// Date.now()\n/* process.exit() */ const a = "Math.random()"; const b = `console.log ${a} new Date()`;',
  ],
  ["src/ids/a.ts", "const a = /console\\.[\"'`/]setTimeout(/; const b = 'it\\'s process.exit()';"],
  ["src/ids/a.ts", "world.timers.setTimeout(); this.process.exit(); a.Date; const updateDate = 5;"],
  ["src/ids/a.ts", 'const a: "process" | "machine" = "process"; const important = "5"; from("x");'],
  ["src/ids/a.ts", 'import { crc32 } from "node:zlib";\nqueueMicrotask(fn); AbortSignal.any([]);'],
];

test("what only looks like a breach is left alone", () => {
  for (const [path, code] of good) assert.deepEqual(breachesOf(path, code), [], code);
});

test("paths of machines are told from addresses and relative paths", () => {
  const home = "/ho" + "me/ann/data";
  assert.equal(machinePathsIn("README.md", `a\ncd ${home}\n`).length, 1);
  assert.equal(machinePathsIn("README.md", `"${home}"`).length, 1);
  assert.deepEqual(machinePathsIn("README.md", `https://example.com${home} and ./${home.slice(1)} and src${home}`), []);
});

test("the reader of sources keeps lines and finds every import", () => {
  const source = readSource(
    "import a from 'a';\n/* two\nlines */ export { b } from \"b\";\nconst t = `x\n${f('y')}z`;\nimport(\"c\");\nimport 'd';",
  );
  assert.deepEqual(importsOf(source), [
    { specifier: "a", line: 1 },
    { specifier: "b", line: 3 },
    { specifier: "c", line: 6 },
    { specifier: "d", line: 7 },
  ]);
});
