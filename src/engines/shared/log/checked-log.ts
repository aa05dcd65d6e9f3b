import type { TenonError } from "../../../contracts/errors.ts";
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
import {
  checkLocating,
  checkLogBatch,
  checkLogCommit,
  checkLogDeclaration,
  checkLogName,
  checkLogRead,
  commitUnderWay,
} from "../../../contracts/log-requests.ts";

type Positions = readonly (readonly (bigint | undefined)[])[];

/** The logs of a server, which hear only of what is right by itself, of one commit of a writer at a time, and of nothing once they were closed. */
export class CheckedLog implements LogEngine {
  readonly #work: LogEngine;
  readonly #closedError: (what: string) => TenonError;
  /** Writers with a commit under way, by name and epoch. */
  readonly #committing = new Set<string>();
  #isClosed = false;

  /** `closedError`: `what` was asked for after closing, and was not carried out. */
  constructor(work: LogEngine, closedError: (what: string) => TenonError) {
    this.#work = work;
    this.#closedError = closedError;
  }

  get capabilities(): LogCapabilities {
    return this.#work.capabilities;
  }

  async declare(log: string, declaration: LogDeclaration): Promise<void> {
    this.#throwIfClosed("declaring a log");
    checkLogDeclaration(log, declaration, this.capabilities);
    await this.#work.declare(log, declaration);
  }

  async logs(): Promise<readonly string[]> {
    this.#throwIfClosed("listing the logs");
    return this.#work.logs();
  }

  async remove(log: string): Promise<void> {
    this.#throwIfClosed("removing a log");
    checkLogName("log", log);
    await this.#work.remove(log);
  }

  async describe(log: string): Promise<LogDescription> {
    this.#throwIfClosed("describing a log");
    checkLogName("log", log);
    return this.#work.describe(log);
  }

  append(batch: LogBatch): Promise<readonly bigint[]> {
    // A promise more for each batch would be for nothing.
    try {
      this.#throwIfClosed("appending");
      checkLogBatch(batch, this.capabilities);
      return this.#work.append(batch);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async read(request: LogRead, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<LogPage> {
    options.signal?.throwIfAborted();
    this.#throwIfClosed("reading");
    checkLogRead(request);
    return this.#work.read(request, options);
  }

  async locate(log: string, partition: number, at: number): Promise<bigint> {
    this.#throwIfClosed("finding an instant");
    checkLocating(log, partition, at);
    return this.#work.locate(log, partition, at);
  }

  async positions(reader: string, log: string): Promise<ReadonlyMap<number, bigint>> {
    this.#throwIfClosed("asking where a reader stands");
    checkLogName("reader", reader);
    checkLogName("log", log);
    return this.#work.positions(reader, log);
  }

  async forget(reader: string, log: string): Promise<void> {
    this.#throwIfClosed("forgetting a reader");
    checkLogName("reader", reader);
    checkLogName("log", log);
    await this.#work.forget(reader, log);
  }

  async openWriter(name: string, logs: readonly string[]): Promise<LogWriter> {
    this.#throwIfClosed("opening a writer");
    checkLogName("writer", name);
    for (const log of logs) checkLogName("log", log);
    return this.#work.openWriter(name, logs);
  }

  async commit(writer: LogWriter, change: LogCommit): Promise<Positions> {
    this.#throwIfClosed("a commit");
    const { name, epoch, logs } = writer;
    checkLogCommit(logs, change, this.capabilities);
    const underWay = `${epoch}/${name}`;
    if (this.#committing.has(underWay)) throw commitUnderWay(name);
    this.#committing.add(underWay);
    try {
      return await this.#work.commit(writer, change);
    } finally {
      this.#committing.delete(underWay);
    }
  }

  #throwIfClosed(what: string): void {
    if (this.#isClosed) throw this.#closedError(what);
  }

  /** From now on everything is refused; what is under way is for the work to end. */
  close(): void {
    this.#isClosed = true;
  }
}
