import childProcess from "node:child_process";
import crypto from "node:crypto";
import dgram from "node:dgram";
import dns from "node:dns";
import fs from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import { DatabaseSync } from "node:sqlite";
import tls from "node:tls";
import workerThreads from "node:worker_threads";
import zlib from "node:zlib";
import { ambientWorld } from "../../world/ambient.ts";
import type { Builtin, BuiltinPatches } from "./builtin-patches.ts";
import type { EscapeWatch } from "./escapes.ts";

/** No calls to the operating system: they only make values of what they are given. */
const harmlessOfFileSystem = [
  "Stats",
  "Dirent",
  "Dir",
  "_toUnixTimestamp",
  "FileReadStream",
  "FileWriteStream",
  "Utf8Stream",
];

/**
 * The public functions that leave the simulation. The resources of Node that they make would give most of them away; but some make none, such as
 * `fs.readFileSync`, and the others are better named by what the user wrote.
 */
export function patchEscapingCalls(patches: BuiltinPatches, watch: EscapeWatch): void {
  // Made now and outside of any World, so that what a process prints makes no handle later.
  void process.stdout;
  void process.stderr;
  const name = (owner: object, prefix: string, keys: readonly string[] = functionsOf(owner)): void => {
    for (const key of keys) {
      patches.replace<Builtin>(owner, key, (original) =>
        isConstructed(original) ? naming(watch, prefix + key, original) : watch.naming(prefix + key, original),
      );
    }
  };
  nameFiles(name);
  nameNetwork(name);
  nameThreads(name);
  nameComputing(name);
  nameProcess(patches, watch);
  nameWriting(patches, watch);
  nameDatabases(patches, watch);
}

type Name = (owner: object, prefix: string, keys?: readonly string[]) => void;

function nameFiles(name: Name): void {
  const functions = functionsOf(fs).filter((key) => !harmlessOfFileSystem.includes(key));
  name(fs, "fs.", functions);
  name(fs.promises, "fs.promises.");
}

function nameNetwork(name: Name): void {
  name(net, "net.", ["connect", "createConnection"]);
  name(net.Server.prototype, "net.Server.", ["listen"]);
  name(net.Socket.prototype, "net.Socket.", ["connect"]);
  name(tls, "tls.", ["connect"]);
  name(dgram, "dgram.", ["createSocket"]);
  name(dgram.Socket.prototype, "dgram.Socket.", ["bind", "send"]);
  name(http, "http.", ["request", "get"]);
  name(https, "https.", ["request", "get"]);
  name(http2, "http2.", ["connect"]);
  const resolving = /^(?:lookup|resolve|reverse)/;
  name(
    dns,
    "dns.",
    functionsOf(dns).filter((key) => resolving.test(key)),
  );
  name(
    dns.promises,
    "dns.promises.",
    functionsOf(dns.promises).filter((key) => resolving.test(key)),
  );
}

function nameThreads(name: Name): void {
  name(childProcess, "child_process.", ["spawn", "spawnSync", "exec", "execSync", "execFile", "execFileSync", "fork"]);
  name(workerThreads, "worker_threads.", ["Worker", "MessageChannel", "BroadcastChannel"]);
  name(globalThis, "", ["MessageChannel", "BroadcastChannel"]);
  name(workerThreads.Worker.prototype, "worker_threads.Worker.", ["postMessage", "terminate"]);
  name(process, "process.", ["send"]);
  // All simulated processes would share them.
  const locks: unknown = Reflect.get(navigator, "locks");
  if (typeof locks === "object" && locks !== null)
    name(Object.getPrototypeOf(locks), "navigator.locks.", ["request", "query"]);
  // They wait for other threads, one of them without giving way.
  name(Atomics, "Atomics.", ["wait", "waitAsync"]);
}

/** In threads, so that the answer comes when it comes; and keys, whose chance is not the simulation's. */
function nameComputing(name: Name): void {
  const { WebAssembly } = globalThis as unknown as { readonly WebAssembly: object };
  name(WebAssembly, "WebAssembly.", ["compile", "instantiate", "compileStreaming", "instantiateStreaming"]);
  name(globalThis, "", ["CompressionStream", "DecompressionStream"]);

  const subtle: object = Object.getPrototypeOf(crypto.subtle);
  name(
    subtle,
    "crypto.subtle.",
    Object.getOwnPropertyNames(subtle).filter((key) => key !== "constructor" && key !== "getPublicKey"),
  );
  name(crypto, "crypto.", ["argon2", "checkPrime", "hkdf", "pbkdf2", "scrypt"]);
  name(crypto, "crypto.", ["generateKey", "generateKeySync", "generateKeyPair", "generateKeyPairSync"]);
  name(crypto, "crypto.", ["generatePrime", "generatePrimeSync"]);
  const compressing = functionsOf(zlib).filter((key) => key !== "crc32" && !key.endsWith("Sync"));
  name(zlib, "zlib.", compressing);
}

function nameProcess(patches: BuiltinPatches, watch: EscapeWatch): void {
  for (const key of ["on", "once", "addListener", "prependListener", "prependOnceListener"] as const) {
    patches.replace<(event: string | symbol, listener: () => void) => unknown>(
      process,
      key,
      (original) =>
        function (this: unknown, event: string | symbol, listener: () => void) {
          const added = () => Reflect.apply(original, this, [event, listener]);
          if (!String(event).startsWith("SIG")) return added();
          return watch.telling(`process.${key} ${String(event)}`, added);
        },
    );
  }
  for (const key of ["exit", "reallyExit", "abort", "kill", "chdir"]) {
    patches.replace<Builtin>(process, key, (original) => {
      const named = watch.naming(`process.${key}`, original);
      if (key === "kill" || key === "chdir") return named;
      return (...parameters: never[]) => {
        if (ambientWorld() === undefined) return original(...parameters);
        watch.tell(`process.${key}`);
        // It would end the simulator before it could say so.
        throw new Error(`process.${key} was called inside of a simulated process: let main return or throw instead`);
      };
    });
  }
}

/** To sockets that were opened outside, such as those of a shared pool. What a process prints goes through one too, and may. */
function nameWriting(patches: BuiltinPatches, watch: EscapeWatch): void {
  patches.replace<Builtin>(net.Socket.prototype, "write", (original) => {
    const named = watch.naming("net.Socket.write", original);
    return function (this: unknown, ...parameters: never[]): unknown {
      const prints = this === process.stdout || this === process.stderr;
      return Reflect.apply(prints ? original : named, this, parameters);
    };
  });
}

/**
 * One in memory is computing like any other. The methods are replaced, for named imports of a module that has no name without `node:` never see a
 * replaced export.
 */
function nameDatabases(patches: BuiltinPatches, watch: EscapeWatch): void {
  for (const key of ["exec", "prepare"]) {
    patches.replace<Builtin>(DatabaseSync.prototype, key, (original) => {
      const named = watch.naming(`sqlite.DatabaseSync.${key}`, original);
      return function (this: DatabaseSync, ...parameters: never[]): unknown {
        const inFile = ambientWorld() !== undefined && this.isOpen && this.location() !== null;
        return Reflect.apply(inFile ? named : original, this, parameters);
      };
    });
  }
}

function functionsOf(owner: object): readonly string[] {
  const properties = Object.entries(Object.getOwnPropertyDescriptors(owner));
  return properties.filter(([, property]) => typeof property.value === "function").map(([key]) => key);
}

function isConstructed(original: Builtin): boolean {
  return /^[A-Z]/.test(original.name);
}

/** A constructor stays what it is for `instanceof` and subclasses. */
function naming(watch: EscapeWatch, call: string, original: Builtin): Builtin {
  const construct = (target: Builtin, parameters: unknown[], made: Builtin): object => {
    const make = () => Reflect.construct(target, parameters, made);
    return ambientWorld() === undefined ? make() : watch.telling(`new ${call}`, make);
  };
  return new Proxy(original, { construct });
}
