// Installs what package-lock.json asks for when node_modules does not have it, so that `npm start` and `npm test` work as the
// first command after a clone. It runs before every npm script, on whatever Node the machine has (20 or later), so it is plain
// JavaScript, has no dependencies, and is quick when there is nothing to do.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join, resolve, sep } from "node:path";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const modules = join(root, "node_modules");
const lock = join(root, ".install-lock");
const node = join(modules, ".bin", process.platform === "win32" ? "node.cmd" : "node");

if (!isCurrent()) process.exitCode = await installOnce();

/** Compares what is wanted with npm's own record of what it installed, which it writes last. */
function isCurrent() {
  let wanted;
  let installed;
  try {
    wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
    installed = JSON.parse(readFileSync(join(modules, ".package-lock.json"), "utf8")).packages;
  } catch {
    return false;
  }
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "") continue;
    const found = installed[path];
    if (found === undefined) {
      // Optional packages for other platforms are not installed.
      if (!entry.optional) return false;
    } else if (found.version !== entry.version || found.integrity !== entry.integrity) {
      return false;
    }
  }
  return existsSync(node);
}

/** One process installs; others that start meanwhile wait for it. */
async function installOnce() {
  while (!takeLock()) await sleep(100);
  const release = () => rmSync(lock, { recursive: true, force: true });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    process.once(signal, () => {
      release();
      process.exit(1);
    });
  }
  try {
    return isCurrent() ? 0 : await install();
  } finally {
    release();
  }
}

function takeLock() {
  // The directory appears complete with its owner's name, by one rename; a rename onto one that is not empty fails.
  const mine = `${lock}-${process.pid}`;
  mkdirSync(mine, { recursive: true });
  writeFileSync(join(mine, "pid"), String(process.pid));
  try {
    renameSync(mine, lock);
    return true;
  } catch {
    rmSync(mine, { recursive: true, force: true });
  }
  try {
    const owner = Number(readFileSync(join(lock, "pid"), "utf8"));
    const takenMs = Date.now() - statSync(lock).mtimeMs;
    if (isAlive(owner) && takenMs < 15 * 60_000) return false;
    // Its owner died. Only one of those who see this wins the rename, so nobody removes a successor's lock.
    const dead = `${lock}-dead-${owner}`;
    renameSync(lock, dead);
    rmSync(dead, { recursive: true, force: true });
  } catch {
    // It was released in between.
  }
  return false;
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

async function install() {
  const before = existsSync(modules) ? "are out of date" : "are not installed yet";
  process.stderr.write(
    `tenon: the packages it is developed with ${before}; running \`npm ci\` (once, about half a minute) …\n`,
  );
  const { status, output } = await npmCi();
  if (status !== 0) {
    process.stderr.write(
      `${output.trim()}\ntenon: \`npm ci\` failed (${status}). See above; when the registry can be reached, run the same command again.\n`,
    );
    return 1;
  }
  if (existsSync(node)) return 0;
  process.stderr.write(
    "tenon: the package `node` has brought no Node 24, because install scripts are switched off. Run `npm ci --ignore-scripts=false`.\n",
  );
  return 1;
}

function npmCi() {
  // Inside an npm script PATH starts with our node_modules/.bin, whose Node is about to be replaced: npm runs on the machine's own.
  const path = (process.env.PATH ?? "").split(delimiter);
  const outside = path.filter((directory) => !resolve(directory).startsWith(modules + sep));
  const env = { ...process.env, PATH: outside.join(delimiter), NODE_ENV: "development" };
  const parameters = ["ci", "--include=dev", "--loglevel=error", "--no-audit", "--no-fund"];
  return new Promise((settle) => {
    const child = spawn("npm", parameters, {
      cwd: root,
      env,
      shell: process.platform === "win32",
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    const gather = (chunk) => {
      output += chunk;
    };
    child.stdout.on("data", gather);
    child.stderr.on("data", gather);
    child.on("error", (error) => settle({ status: error.code, output: `npm could not be started: ${error.message}` }));
    child.on("close", (code, signal) => settle({ status: code ?? signal, output }));
  });
}
