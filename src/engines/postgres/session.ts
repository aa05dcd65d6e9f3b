import { crc32 } from "node:zlib";
import type { World } from "../../world/world.ts";
import type { PostgresClient } from "./clients.ts";
import type { PostgresQuery, PostgresResult } from "./pool.ts";
import { valueTypes } from "./values.ts";

/** A value that a statement of the engine carries. */
export type Parameter = string | number | bigint | boolean | Uint8Array | null | readonly Parameter[];
export type Row = Readonly<Record<string, unknown>>;

/** A statement that is sent again and again; the server remembers it by its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/** PostgreSQL cuts longer names, and two statements would have one name. */
const nameBytesMax = 63;

export function shortName(name: string, text: string): string {
  if (name.length <= nameBytesMax) return name;
  const mark = `_${crc32(name).toString(36)}${crc32(text).toString(36)}`;
  return name.slice(0, nameBytesMax - mark.length) + mark;
}

/** How long taking leave may take. */
const leaveMs = 200;

/**
 * One client of the user's for as long as its connection holds. Statements go one after the other. One whose answer takes too long ends the
 * session, and with it the transaction it was in.
 */
export class Session {
  readonly #client: PostgresClient;
  readonly #world: World;
  readonly #timeoutMs: number;
  readonly #broken = Promise.withResolvers<never>();
  /** The session is over. */
  ended = false;
  #destroyed = false;

  constructor(client: PostgresClient, world: World, timeoutMs: number) {
    this.#client = client;
    this.#world = world;
    this.#timeoutMs = timeoutMs;
    this.#broken.promise.catch(() => undefined);
    client.on("error", (error) => this.#break(error));
    client.on("end", () => this.#break(new Error("the connection was ended")));
  }

  get client(): PostgresClient {
    return this.#client;
  }

  /** When the session has ended by itself. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  async connect(): Promise<void> {
    await this.#within(this.#client.connect());
  }

  async run({ name, text }: Statement, values: readonly Parameter[] = []): Promise<PostgresResult> {
    return this.#query({ name: shortName(name, text), text, values: values.map(asParameter), types: valueTypes });
  }

  /** Without values; several statements may be in the text. */
  async simple(text: string): Promise<PostgresResult> {
    return this.#query({ text, values: [], types: valueTypes });
  }

  async #query(query: PostgresQuery): Promise<PostgresResult> {
    if (this.ended) throw new Error("the connection was lost");
    return this.#within(this.#client.query(query));
  }

  /** Rejects when the session breaks, or when nothing comes for too long; then the session has ended. */
  async #within<T>(answer: Promise<T>): Promise<T> {
    answer.catch(() => undefined);
    const cancel = this.#world.timers.schedule(this.#timeoutMs, () => {
      this.#break(new Overdue(this.#timeoutMs));
      this.destroy();
    });
    try {
      return await Promise.race([answer, this.#broken.promise]);
    } finally {
      cancel();
    }
  }

  #break(error: Error): void {
    this.ended = true;
    this.#broken.reject(error);
  }

  /** Ends the connection without waiting for anything. One that is idle takes its leave, and is cut when that has no answer. */
  destroy(): void {
    this.#break(new Error("the connection was closed"));
    if (this.#destroyed) return;
    this.#destroyed = true;
    const cancel = this.#world.timers.schedule(leaveMs, () => this.#client.connection?.stream?.destroy());
    this.#client.end().then(cancel, () => undefined);
  }
}

/** The server did not answer in time. */
export class Overdue extends Error {
  readonly timeoutMs: number;
  constructor(timeoutMs: number) {
    super(`the server did not answer within ${timeoutMs} ms`);
    this.timeoutMs = timeoutMs;
  }
}

/** The driver knows Buffers; a view of other bytes it would send as text. */
function asParameter(value: Parameter): unknown {
  if (value instanceof Uint8Array && !Buffer.isBuffer(value)) {
    return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
  if (Array.isArray(value)) return value.map(asParameter);
  return typeof value === "bigint" ? value.toString() : value;
}
