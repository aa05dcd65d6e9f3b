/** The etcd engine for conformance cases: each subject under a prefix of its own, whose keys it deletes at its end. */
import { randomUUID } from "node:crypto";
import type { ConformanceHost } from "tenon/conformance";
import { type EtcdEngine, type EtcdFetch, type EtcdOptions, etcd } from "tenon/etcd";
import { systemWorld } from "tenon/world";
import { mortalWorld } from "./mortal-world.ts";

export interface EtcdProcess {
  readonly engine: EtcdEngine;
  /** Ends as a killed process does: its connections break, and it never hears of anything again. */
  die(): Promise<void>;
}

export function testPrefix(): string {
  return `tenon_test/${randomUUID().slice(0, 13)}`;
}

/** What a process can reach until it dies. */
export function mortalFetch(): { readonly fetch: EtcdFetch; die(): void } {
  const life = new AbortController();
  const never = new Promise<never>(() => undefined);
  const hears = <T>(promise: Promise<T>): Promise<T> =>
    promise.then(
      (answer) => (life.signal.aborted ? never : answer),
      (error) => (life.signal.aborted ? never : Promise.reject(error)),
    );
  return {
    die: () => life.abort(),
    async fetch(url, request) {
      if (life.signal.aborted) return never;
      const signal = AbortSignal.any([request.signal, life.signal]);
      const response = await hears(fetch(url, { ...request, signal }));
      return { status: response.status, text: () => hears(response.text()), body: response.body };
    },
  };
}

export async function startEtcd(url: string, prefix: string, options: Partial<EtcdOptions> = {}): Promise<EtcdProcess> {
  const world = mortalWorld(systemWorld());
  const network = mortalFetch();
  const engine = await etcd({ endpoints: [url], fetch: network.fetch, prefix, world, ...options });
  return {
    engine,
    async die() {
      network.die();
      await world.die();
    },
  };
}

export function etcdHost(url: string): ConformanceHost<EtcdEngine> {
  return {
    async start() {
      const prefix = testPrefix();
      let process = await startEtcd(url, prefix);
      return {
        get engine() {
          return process.engine;
        },
        async crash() {
          await process.die();
          process = await startEtcd(url, prefix);
        },
        async stop() {
          await process.engine.close();
          await deleteKeys(url, prefix);
        },
      };
    },
  };
}

export async function ask(url: string, path: string, body: object): Promise<Record<string, unknown>> {
  const response = await fetch(`${url}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
  return (await response.json()) as Record<string, unknown>;
}

export function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

export async function deleteKeys(url: string, prefix: string): Promise<void> {
  await ask(url, "kv/deleterange", { key: base64(`${prefix}/`), range_end: base64(`${prefix}0`) });
}
