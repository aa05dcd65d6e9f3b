/**
 * Runs the tests beside the code, in test/ and in the examples: `npm test`, `npm test -- journal lanes`, `npm test -- --slow`.
 * Words choose the files whose path holds one of them; options that start with `--test-` go to Node's test runner.
 */
import { spawn } from "node:child_process";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";

const usage = `Usage: npm test -- [--slow] [--test-…] [word …]
  --slow     the long rounds too (sets TENON_SLOW=1)
  --test-…   passed on to Node's test runner, such as --test-name-pattern=fence
  word       only files whose path holds one of the words`;

const root = fileURLToPath(new URL("..", import.meta.url));
const parameters = process.argv.slice(2);
const options = parameters.filter((parameter) => parameter.startsWith("-"));
const words = parameters.filter((parameter) => !parameter.startsWith("-"));

if (options.includes("--help")) {
  console.log(usage);
  process.exit(0);
}
const unknown = options.find((option) => option !== "--slow" && !option.startsWith("--test-"));
if (unknown !== undefined) fail(`There is no option ${unknown}.\n${usage}`);

const slow = options.includes("--slow") || process.env.TENON_SLOW === "1";
const folders = "{src,test,examples,bench,scripts}";
const files = globSync(`${folders}/**/*.{test,fuzz}.ts`, {
  cwd: root,
  exclude: (name) => /^(node_modules|dist|\.)/.test(name),
})
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
  .sort();
if (files.length === 0) fail(`No test file has ${words.map((word) => `"${word}"`).join(" or ")} in its path.`);

const runner = spawn(
  process.execPath,
  [
    "--conditions=source",
    "--test",
    // A test file is a process; two leave room for the processes that some of them start.
    "--test-concurrency=2",
    "--test-reporter=spec",
    `--test-timeout=${slow ? 3_600_000 : 180_000}`,
    ...options.filter((option) => option.startsWith("--test-")),
    ...files,
  ],
  { cwd: root, stdio: "inherit", env: { ...process.env, ...(slow ? { TENON_SLOW: "1" } : {}) } },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => runner.kill(signal));
runner.on("close", (code) => process.exit(code ?? 1));

function fail(message: string): never {
  console.error(message);
  process.exit(2);
}
