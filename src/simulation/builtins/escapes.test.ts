import assert from "node:assert/strict";
import * as childProcess from "node:child_process";
import * as nodeCrypto from "node:crypto";
import * as dgram from "node:dgram";
import * as dns from "node:dns";
import { once } from "node:events";
import * as fs from "node:fs";
import { existsSync } from "node:fs";
import * as filePromises from "node:fs/promises";
import { readFile } from "node:fs/promises";
import * as http from "node:http";
import { createRequire } from "node:module";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { MessageChannel as NodeMessageChannel, Worker } from "node:worker_threads";
import * as zlib from "node:zlib";
import { inWorld } from "../../world/ambient.ts";
import { simulatedWorld } from "../simulation.ts";
import { simulateBuiltins } from "./builtins.ts";
import type { Escape } from "./escapes.ts";

const here = fileURLToPath(import.meta.url);
const one: string = "data:text/javascript,export const one = 1";
const outside: string = "data:text/javascript,export const outside = 1";
const { WebAssembly } = globalThis as unknown as {
  readonly WebAssembly: { compile(code: Uint8Array): Promise<unknown> };
};
const compileNothing = () => WebAssembly.compile(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
const { locks } = navigator as unknown as { readonly locks: { request(name: string, fn: () => void): Promise<void> } };
const realReadFile = fs.readFile;
const realGzip = zlib.gzip;
const realGzipSync = zlib.gzipSync;
const realPbkdf2Sync = nodeCrypto.pbkdf2Sync;

/** What is told when the code runs in a World. Real work that it starts is waited for. */
async function escapesOf(context: TestContext, code: () => unknown): Promise<readonly Escape[]> {
  const escapes: Escape[] = [];
  const builtins = simulateBuiltins({ escaped: (what) => escapes.push(what) });
  context.after(() => builtins[Symbol.dispose]());
  const { world } = simulatedWorld({ seed: 1 });
  await inWorld(world, async () => {
    await code();
  });
  builtins[Symbol.dispose]();
  return escapes;
}

const leaving: readonly (readonly [call: string, code: () => unknown])[] = [
  ["fs.readFileSync", () => fs.readFileSync(here)],
  ["fs.existsSync", () => existsSync(here)],
  ["fs.readFile", () => promisify((done: (error: unknown) => void) => fs.readFile(here, done))()],
  ["fs.promises.readFile", () => readFile(here)],
  ["fs.promises.stat", () => filePromises.stat(here)],
  ["fs.createReadStream", () => fs.createReadStream(here).destroy()],
  ["fs.watch", () => fs.watch(here).close()],
  ["fs.stat", () => promisify(fs.stat)(here)],
  ["FSREQCALLBACK", () => promisify((done: (error: unknown) => void) => realReadFile(here, done))()],
  [
    "net.connect",
    () =>
      net
        .connect(9, "127.0.0.1")
        .on("error", () => {})
        .destroy(),
  ],
  [
    "net.Socket.connect",
    () =>
      new net.Socket()
        .on("error", () => {})
        .connect(9, "127.0.0.1")
        .destroy(),
  ],
  ["net.Server.listen", () => net.createServer().listen(0, "127.0.0.1").close()],
  ["net.Server.listen", () => http.createServer().listen(0, "127.0.0.1").close()],
  [
    "http.request",
    () =>
      http
        .request("http://127.0.0.1:9/")
        .on("error", () => {})
        .destroy(),
  ],
  [
    "http.get",
    () =>
      http
        .get("http://127.0.0.1:9/")
        .on("error", () => {})
        .destroy(),
  ],
  ["dgram.createSocket", () => dgram.createSocket("udp4").close()],
  ["dns.lookup", () => new Promise((resolve) => dns.lookup("127.0.0.1", resolve))],
  ["dns.promises.lookup", () => dns.promises.lookup("127.0.0.1")],
  ["child_process.spawnSync", () => childProcess.spawnSync(process.execPath, ["--version"])],
  // Node promisifies it by a function of its own.
  ["PROCESSWRAP", () => promisify(childProcess.execFile)(process.execPath, ["--version"])],
  ["new worker_threads.Worker", () => new Worker("", { eval: true }).terminate()],
  ["new worker_threads.MessageChannel", () => new NodeMessageChannel().port1.close()],
  ["new MessageChannel", () => new MessageChannel().port1.close()],
  ["new BroadcastChannel", () => new BroadcastChannel("news").close()],
  ["zlib.gzip", () => new Promise((resolve) => zlib.gzip("a", resolve))],
  ["zlib.createGzip", () => zlib.createGzip()],
  ["ZLIB", () => new Promise((resolve) => realGzip("a", resolve))],
  ["new CompressionStream", () => new CompressionStream("gzip")],
  ["crypto.subtle.digest", () => crypto.subtle.digest("SHA-256", new Uint8Array(3))],
  ["crypto.scrypt", () => new Promise((resolve) => nodeCrypto.scrypt("a", "b", 8, resolve))],
  ["crypto.generateKeySync", () => nodeCrypto.generateKeySync("hmac", { length: 64 })],
  ["fetch", () => fetch("data:,a")],
  ["WebAssembly.compile", () => compileNothing()],
  ["Atomics.waitAsync", () => void Atomics.waitAsync(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1)],
  ["navigator.locks.request", () => locks.request("lock", () => {})],
  ["net.Server.listen", () => net.createServer().listen(0, "127.0.0.1").close()],
  ["process.once SIGUSR2", () => process.once("SIGUSR2", () => {}).removeAllListeners("SIGUSR2")],
  ["import node:repl", () => import("node:repl")],
  [`import ${one}`, () => import(one)],
  ["import node:inspector", () => createRequire(here)("node:inspector")],
];

for (const [call, code] of leaving) {
  test(`${call} is named, with the code that did it: ${code.toString().replaceAll(/\s+/g, " ").slice(6, 80)}`, async (context) => {
    const [first] = await escapesOf(context, code);
    assert.equal(first?.call, call);
    assert.match(first.stack.split("\n")[0] ?? "", /escapes\.test\.ts/);
    assert.doesNotMatch(first.stack, /node:|simulation\/escap(?:es|ing-calls)\.ts/);
  });
}

const staying: readonly (readonly [what: string, code: () => unknown])[] = [
  ["awaiting", async () => void (await Promise.all([1, Promise.resolve(2)]))],
  ["nextTick", () => new Promise<void>((resolve) => process.nextTick(resolve))],
  ["compressing at once", () => zlib.gunzipSync(zlib.gzipSync("a"))],
  ["compressing at once with a function saved before", () => realGzipSync("a")],
  ["a checksum", () => zlib.crc32("a")],
  ["hashing", () => nodeCrypto.createHash("sha256").update("a").digest()],
  ["deriving a key at once", () => nodeCrypto.pbkdf2Sync("a", "b", 1, 8, "sha1")],
  ["deriving a key at once with a function saved before", () => realPbkdf2Sync("a", "b", 1, 8, "sha1")],
  ["printing", () => process.stdout.write("")],
  ["a blob", () => new Blob(["a"]).arrayBuffer()],
  ["a module that is there", () => import("node:fs")],
  ["a failed assertion", () => assert.throws(() => assert.ok(false))],
  ["a failed assertion without a message", () => assert.throws(() => assert(here === "elsewhere"))],
  ["listening to the program's end", () => process.once("exit", () => {})],
  ["aborting", () => AbortSignal.any([AbortSignal.abort()]).aborted],
  ["a server that does not listen", () => http.createServer()],
];

for (const [what, code] of staying) {
  test(`${what} is no escape`, async (context) => {
    assert.deepEqual(await escapesOf(context, code), []);
  });
}

test("outside of simulated processes nothing is an escape", async () => {
  const escapes: Escape[] = [];
  using _builtins = simulateBuiltins({ escaped: (what) => escapes.push(what) });
  fs.readFileSync(here);
  await readFile(here);
  await new Promise((resolve) => setTimeout(resolve, 1));
  await new Promise((resolve) => zlib.gzip("a", resolve));
  await import(outside);
  assert.deepEqual(escapes, []);
});

test("writing to a socket that was opened outside is named", async (context) => {
  const server = net.createServer((socket) => socket.resume()).listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = net.connect((server.address() as net.AddressInfo).port, "127.0.0.1");
  await once(socket, "connect");
  const escapes = await escapesOf(context, () => socket.write("a"));
  socket.destroy();
  server.close();
  assert.deepEqual(
    escapes.map(({ call }) => call),
    ["net.Socket.write"],
  );
});

test("a database in a file is named, one in memory is not", async (context) => {
  const directory = fs.mkdtempSync(join(tmpdir(), "tenon-escapes-"));
  context.after(() => fs.rmSync(directory, { recursive: true }));
  const escapes = await escapesOf(context, () => {
    using memory = new DatabaseSync(":memory:");
    memory.exec("create table a (b)");
    memory.prepare("insert into a values (?)").run(1);
    using file = new DatabaseSync(join(directory, "a.db"));
    file.exec("create table a (b)");
    file.prepare("insert into a values (?)").run(1);
  });
  assert.deepEqual(
    escapes.map(({ call }) => call),
    ["sqlite.DatabaseSync.exec", "sqlite.DatabaseSync.prepare"],
  );
});

test("what a named call does in turn is not told again", () => {
  const told: string[] = [];
  using _builtins = simulateBuiltins({ escaped: ({ call }) => told.push(call) });
  inWorld(simulatedWorld({ seed: 1 }).world, () => fs.readFileSync(here));
  inWorld(simulatedWorld({ seed: 1 }).world, () => dgram.createSocket("udp4").close());
  assert.deepEqual(told, ["fs.readFileSync", "dgram.createSocket"]);
});

test("a module that is loaded is told once, and not how Node reads it", async (context) => {
  const directory = fs.mkdtempSync(join(tmpdir(), "tenon-escapes-"));
  context.after(() => fs.rmSync(directory, { recursive: true }));
  const file = join(directory, "late.cjs");
  fs.writeFileSync(file, "module.exports = 1;");
  const escapes = await escapesOf(context, () => createRequire(here)(file));
  assert.deepEqual(
    escapes.map(({ call }) => call),
    [`import ${pathToFileURL(file)}`],
  );
});

test("process.exit is named, and does not end the simulator", async (context) => {
  const escapes = await escapesOf(context, () => assert.throws(() => process.exit(3), /let main return/));
  assert.deepEqual(
    escapes.map(({ call }) => call),
    ["process.exit"],
  );
});

test("an escape is told to the simulation whose World it left", () => {
  const told: string[] = [];
  const [one, other] = [simulatedWorld({ seed: 1 }).world, simulatedWorld({ seed: 2 }).world];
  using _one = simulateBuiltins({ escaped: () => told.push("one"), owns: (world) => world === one });
  using _other = simulateBuiltins({ escaped: () => told.push("other"), owns: (world) => world === other });
  inWorld(one, () => fs.existsSync(here));
  inWorld(other, () => fs.existsSync(here));
  assert.deepEqual(told, ["one", "other"]);
});
