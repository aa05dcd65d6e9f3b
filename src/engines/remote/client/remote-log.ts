import { TenonError } from "../../../contracts/errors.ts";
import type {
  LogBatch,
  LogCapabilities,
  LogCommit,
  LogDeclaration,
  LogDescription,
  LogEngine,
  LogPage,
  LogRead,
  LogWriter,
} from "../../../contracts/log.ts";
import { checkLogRead } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import { isPassing } from "../../shared/passing.ts";
import { operations } from "../wire/operations.ts";
import { asRead } from "./failures.ts";
import type { Link } from "./link.ts";
import { pause } from "./pause.ts";

const retryMs = 50;

/** The `log` contract of an engine that lives elsewhere. Writers are the served engine's: what fences them is kept there. */
export class RemoteLog implements LogEngine {
  readonly capabilities: LogCapabilities;
  readonly #link: Link;
  readonly #world: World;
  readonly #ended = new AbortController();

  constructor(link: Link, world: World, capabilities: LogCapabilities) {
    this.#link = link;
    this.#world = world;
    this.capabilities = capabilities;
  }

  async declare(log: string, declaration: LogDeclaration): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.declareLog, { log, declaration });
  }

  async logs(): Promise<readonly string[]> {
    this.#throwIfClosed();
    return this.#link.call(operations.logs, undefined);
  }

  async remove(log: string): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.removeLog, log);
  }

  async describe(log: string): Promise<LogDescription> {
    this.#throwIfClosed();
    return this.#link.call(operations.describeLog, log);
  }

  async append(batch: LogBatch): Promise<readonly bigint[]> {
    this.#throwIfClosed();
    return this.#link.call(operations.appendRecords, batch);
  }

  async read(request: LogRead, { signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<LogPage> {
    signal?.throwIfAborted();
    this.#throwIfClosed();
    checkLogRead(request);
    const { waitMs = 0 } = request;
    if (waitMs === 0) return this.#link.call(operations.readLog, request, { signal });
    return this.#wait(request, this.#world.clock.monotonic() + waitMs, signal);
  }

  /** Asks again after each outage until the time is over: reading changes nothing. */
  async #wait(request: LogRead, until: number, given: AbortSignal | undefined): Promise<LogPage> {
    const { clock } = this.#world;
    const isOver = new AbortController();
    const end = () => isOver.abort(given?.aborted ? given.reason : this.#ended.signal.reason);
    for (const each of [given, this.#ended.signal]) each?.addEventListener("abort", end);
    const { signal } = isOver;
    try {
      for (;;) {
        try {
          const waitMs = Math.max(0, until - clock.monotonic());
          return await this.#link.call(operations.awaitLog, { ...request, waitMs }, { signal });
        } catch (error) {
          if (signal.aborted || !isPassing(error) || !(error instanceof TenonError)) throw error;
          if (until - clock.monotonic() <= 0) throw asRead(error);
          await pause(this.#world, Math.min(retryMs, until - clock.monotonic()), signal);
          signal.throwIfAborted();
        }
      }
    } finally {
      for (const each of [given, this.#ended.signal]) each?.removeEventListener("abort", end);
    }
  }

  async locate(log: string, partition: number, at: number): Promise<bigint> {
    this.#throwIfClosed();
    return this.#link.call(operations.locateLog, { log, partition, at });
  }

  async positions(reader: string, log: string): Promise<ReadonlyMap<number, bigint>> {
    this.#throwIfClosed();
    const positions = await this.#link.call(operations.readerPositions, { reader, log });
    return new Map(positions.map(({ partition, position }) => [partition, position]));
  }

  async forget(reader: string, log: string): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.forgetReader, { reader, log });
  }

  async openWriter(name: string, logs: readonly string[]): Promise<LogWriter> {
    this.#throwIfClosed();
    return this.#link.call(operations.openWriter, { name, logs });
  }

  async commit(writer: LogWriter, change: LogCommit): Promise<readonly (readonly (bigint | undefined)[])[]> {
    this.#throwIfClosed();
    return this.#link.call(operations.commitLog, { writer, change });
  }

  #throwIfClosed(): void {
    this.#ended.signal.throwIfAborted();
  }

  close(reason: TenonError): void {
    this.#ended.abort(reason);
  }
}
