import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import type { MessagingEngine } from "../moving/index.ts";
import { UsageError } from "./usage-error.ts";

/** An engine of a module, which whoever opened it closes. */
export interface OpenedEngine extends AsyncDisposable {
  readonly engine: MessagingEngine;
}

/** Loads a module, and takes the engine that its export `engine`, or its default one, is, promises, or gives when it is called. */
export async function openEngine(path: string, directory: string): Promise<OpenedEngine> {
  const exported = await exportOf(path, directory);
  const engine: unknown = await (typeof exported === "function" ? exported() : exported);
  if (!isMessagingEngine(engine)) {
    throw new UsageError(
      `what ${path} exports as engine is no engine that carries messages, nor a function that gives one`,
    );
  }
  return {
    engine,
    async [Symbol.asyncDispose]() {
      // The move has had its answers: an engine that cannot take leave changes nothing about what it did.
      await Promise.resolve(engine[Symbol.asyncDispose]?.()).catch(() => undefined);
    },
  };
}

async function exportOf(path: string, directory: string): Promise<unknown> {
  const { href } = pathToFileURL(resolve(directory, path));
  const module: Readonly<Record<string, unknown>> = await import(href);
  const exported = module.engine ?? module.default;
  if (exported === undefined) throw new UsageError(`${path} exports no engine; it needs \`export const engine = …\``);
  return exported;
}

function isMessagingEngine(value: unknown): value is MessagingEngine & Partial<AsyncDisposable> {
  if (typeof value !== "object" || value === null) return false;
  const { messages, world } = value as Partial<MessagingEngine>;
  return typeof messages?.append === "function" && typeof world?.timers?.sleep === "function";
}
