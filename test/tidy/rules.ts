import { posix } from "node:path";
import { importsOf, lineAt, readSource, type SourceCode } from "./source-code.ts";

/** Names of folders of src that hold no building block; all others do. */
const foundations = ["contracts", "world", "codec", "engines", "simulation", "conformance", "cli"];

/** What each part may import beside itself. Blocks get `block`. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  contracts: [],
  world: ["contracts"],
  codec: ["contracts"],
  engine: ["contracts", "world", "engines/lanes", "engines/shared", "engines/relational"],
  relational: ["contracts", "world", "engines/lanes", "engines/shared"],
  lanes: ["contracts", "world", "engines/shared"],
  shared: ["contracts", "world"],
  block: ["contracts", "world", "codec"],
  simulation: ["contracts", "world"],
  conformance: ["contracts", "world", "codec", "block"],
  cli: ["contracts", "world", "codec", "block", "engine", "simulation", "conformance"],
  // The entry of the package.
  index: ["contracts", "world", "codec", "block"],
};

/** Modules of Node that compute and do nothing else. */
const pureModules = ["node:assert/strict", "node:async_hooks", "node:buffer", "node:path", "node:util", "node:zlib"];

/** Clients that an engine's folder may import. Users install them; nothing else in src imports a package. */
const engineClients: Readonly<Record<string, readonly string[]>> = {};

const ambient: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/(?<![.#\w])Date\b(?!\s*[:?])/g, "Date: ask world.clock"],
  [/(?<![.#\w])performance\s*\./g, "performance: ask world.clock"],
  [/\bMath\s*\.\s*random\b/g, "Math.random: ask world.random"],
  [/(?<![.#\w])(?:setTimeout|setInterval|clearTimeout|clearInterval)\b/g, "timers: ask world.timers"],
  [/(?<![.#\w])(?:setImmediate|clearImmediate)\b/g, "setImmediate: ask world.timers"],
  [/\bAbortSignal\s*\.\s*timeout\b/g, "AbortSignal.timeout: ask world.timers"],
  [/(?<![.#\w])process\s*(?:\.|\[)/g, "process: it belongs to the program, not to the library"],
  [/(?<![.#\w])crypto\s*\./g, "crypto: ask world.random"],
  // A method may be called fetch, so only calls count.
  [
    /(?:(?:\b(?:await|return|void)|[=(,>?:])\s*fetch|\bnew\s+(?:WebSocket|EventSource))\s*\(/g,
    "network: ask world.network",
  ],
  [/(?<![.#\w])globalThis\b/g, "globalThis: nothing ambient"],
  [/(?<![.#\w])require\s*\(/g, "require: import instead"],
];

interface Exception {
  readonly why: string;
  readonly modules: readonly string[];
  /** How the complaints begin that do not count. */
  readonly ambient: readonly string[];
  /** Whether it may import what it was told the name of. */
  readonly computed?: boolean;
}

/** Files that replace what everybody else asks the World for, or are a program. Each may touch what it replaces or is about, and nothing more. */
const exceptions: Readonly<Record<string, Exception>> = {
  "src/cli/main.ts": { why: "is the program", modules: [], ambient: ["process"] },
  "src/cli/engine-modules.ts": {
    why: "loads the modules that the command line names",
    modules: ["node:url"],
    ambient: [],
    computed: true,
  },
  "src/simulation/builtins/builtin-patches.ts": {
    why: "publishes replaced builtins to those who imported them by name",
    modules: ["node:module"],
    ambient: [],
  },
  "src/simulation/builtins/builtin-clocks.ts": {
    why: "makes the builtin clocks those of the World",
    modules: ["node:perf_hooks"],
    ambient: ["Date", "performance", "process", "globalThis"],
  },
  "src/simulation/builtins/builtin-timers.ts": {
    why: "makes the builtin timers those of the World",
    modules: ["node:timers", "node:timers/promises"],
    ambient: ["globalThis"],
  },
  "src/simulation/builtins/builtin-random.ts": {
    why: "makes the builtin chance that of the World",
    modules: ["node:crypto"],
    ambient: ["Math.random", "crypto"],
  },
  "src/simulation/builtins/builtins.ts": { why: "gives fetch to the simulation", modules: [], ambient: ["globalThis"] },
  "src/simulation/builtins/unhandled-errors.ts": {
    why: "keeps the end of a simulated process from ending the program",
    modules: [],
    ambient: ["process"],
  },
  "src/simulation/builtins/escapes.ts": {
    why: "hears of modules that are loaded inside of a simulation",
    modules: ["node:module"],
    ambient: [],
  },
  "src/simulation/sql/sql-storage.ts": { why: "is a database in memory", modules: ["node:sqlite"], ambient: [] },
  "src/simulation/builtins/escaping-calls.ts": {
    why: "names the calls that leave a simulation, and makes none of them",
    modules: [
      "child_process",
      "crypto",
      "dgram",
      "dns",
      "fs",
      "http",
      "http2",
      "https",
      "net",
      "sqlite",
      "tls",
      "worker_threads",
    ].map((name) => `node:${name}`),
    ambient: ["process", "crypto", "globalThis"],
  },
};

const everywhereInSource: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/(?<![.#\w])console\s*\./g, "console: a library logs through world.log"],
  [/\bexport\s+default\b/g, "a default export: name it"],
  [/\binterface\s+I[A-Z][a-z]/g, "an interface named with I: name it as what it is"],
  [/\bclass\s+\w+Impl\b/g, "a class named …Impl: say what sets it apart"],
];

const linesMax = 500;
/** What a program writes may be long. */
const generatedMark = "// Made by scripts/";

/** Every breach of the rules in one file of src, as `path:line: what`. */
export function breachesOf(path: string, text: string): string[] {
  const source = readSource(text);
  const breaches = nameBreaches(path);
  const report = (line: number, what: string): void => {
    breaches.push(`${path}:${line}: ${what}`);
  };
  if (isTest(path)) {
    for (const { specifier, line } of importsOf(source)) {
      if (specifier?.startsWith("tenon")) report(line, `imports ${specifier}: inside src, imports are relative`);
    }
    return breaches;
  }
  const lineCount = text.split("\n").length - 1;
  if (lineCount > linesMax && !text.startsWith(generatedMark))
    report(lineCount, `has ${lineCount} lines, and ${linesMax} is the limit: a file is one idea`);
  for (const { specifier, line } of importsOf(source)) {
    const what = importBreach(path, specifier);
    if (what !== undefined) report(line, what);
  }
  const banned = path.startsWith("src/world/system/") ? everywhereInSource : [...everywhereInSource, ...ambient];
  for (const [pattern, what] of banned) {
    if (path.startsWith("src/simulation/") && isMeantInSimulation(what, source)) continue;
    if (exceptions[path]?.ambient.some((name) => what.startsWith(`${name}:`))) continue;
    for (const line of matchingLines(source, pattern)) report(line, what);
  }
  return breaches;
}

/** Paths of somebody's machine, in any file of the repository. */
export function machinePathsIn(path: string, text: string): string[] {
  // Put together, so that this file does not accuse itself.
  const homes = ["/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/", "/Us" + "ers/", "/tmp/br" + "ief"];
  const breaches: string[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    const found = homes.find((home) => line.includes(home) && new RegExp(`(?<![\\w.}:/-])${home}[\\w.]`).test(line));
    if (found !== undefined) breaches.push(`${path}:${index + 1}: mentions a path of a machine (${found})`);
  }
  return breaches;
}

/** The driver of simulated time takes real turns, and what is simulated is a process, so that variables have its name. */
function isMeantInSimulation(what: string, { code }: SourceCode): boolean {
  return (
    what.startsWith("setImmediate") ||
    (what.startsWith("process") && /(?:\b(?:const|let)\s+|[(,]\s*)process\b/.test(code))
  );
}

function nameBreaches(path: string): string[] {
  const breaches: string[] = [];
  for (const part of path.split("/").slice(1)) {
    const stem = part.replace(/(\.(test|fuzz|bench|types))?\.ts$/, "");
    if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(stem)) breaches.push(`${path}: "${part}" is not kebab-case`);
    if (/(^|-)(utils?|helpers?|managers?|misc|common)$/.test(stem))
      breaches.push(`${path}: "${part}" says nothing; name the idea`);
  }
  return breaches;
}

function importBreach(path: string, specifier: string | undefined): string | undefined {
  const system = path.startsWith("src/world/system/");
  if (specifier === undefined) {
    return exceptions[path]?.computed === true ? undefined : "imports a computed name: nobody can check it";
  }
  if (specifier.startsWith("node:")) {
    const allowed = system || pureModules.includes(specifier) || exceptions[path]?.modules.includes(specifier);
    return allowed ? undefined : `imports ${specifier}: only src/world/system/ may`;
  }
  if (!specifier.startsWith(".")) {
    if (engineClients[engineOf(path)]?.includes(specifier)) return undefined;
    return `imports the package ${specifier}: src has no dependencies, and imports itself relatively`;
  }
  if (!specifier.endsWith(".ts")) return `imports ${specifier}: write the ending .ts`;
  const target = posix.join(posix.dirname(path), specifier);
  if (isTest(target)) return `imports the test ${target}`;
  if (!mayReach(path, target)) return `imports ${target}: ${partOf(path).kind} may not import ${partOf(target).kind}`;
  return undefined;
}

function mayReach(path: string, target: string): boolean {
  const from = partOf(path);
  const to = partOf(target);
  if (from.name === to.name) return true;
  const allowed = mayImport[from.kind] ?? [];
  return allowed.includes(to.kind) || allowed.includes(to.name);
}

/** The part of the house that a file belongs to: `engines/redis` is an engine, `messaging` a block. */
function partOf(path: string): { readonly name: string; readonly kind: string } {
  const [, folder = "", inner] = path.split("/");
  if (inner === undefined) return { name: folder, kind: folder === "index.ts" ? "index" : "a stray file" };
  if (folder === "engines")
    return { name: `engines/${inner}`, kind: /^(?:lanes|relational|shared)$/.test(inner) ? inner : "engine" };
  return { name: folder, kind: foundations.includes(folder) ? folder : "block" };
}

function engineOf(path: string): string {
  return partOf(path).name;
}

function isTest(path: string): boolean {
  return /\.(test|fuzz|bench|types)\.ts$/.test(path);
}

function matchingLines({ code }: SourceCode, pattern: RegExp): number[] {
  return [...code.matchAll(pattern)].map((match) => lineAt(code, match.index));
}
