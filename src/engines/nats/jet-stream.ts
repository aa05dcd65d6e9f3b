import { TenonError } from "../../contracts/errors.ts";
import type { NatsMessage } from "./clients.ts";
import { type ApiError, apiErrors, asRead, refusedBy } from "./failures.ts";
import { instantOf } from "./instants.ts";
import type { NatsLink } from "./link.ts";

/** A message as a stream keeps it. */
export interface StoredMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly data: Buffer;
  /** When the server stored it, ms since the epoch, rounded down. */
  readonly storedAt: number;
}

/** As JetStream answers it; only what is used. */
export interface StreamInfo {
  readonly config: StreamConfig;
  readonly state: {
    readonly first_seq: number;
    readonly last_seq: number;
    readonly subjects?: Readonly<Record<string, number>> | undefined;
  };
}

export interface StreamConfig {
  readonly name: string;
  readonly subjects: readonly string[];
  readonly storage?: string | undefined;
  readonly num_replicas?: number | undefined;
  readonly max_msgs_per_subject?: number | undefined;
  readonly max_age?: number | undefined;
  readonly max_msgs?: number | undefined;
  readonly max_bytes?: number | undefined;
  readonly discard?: string | undefined;
  readonly retention?: string | undefined;
  readonly allow_direct?: boolean | undefined;
  readonly duplicate_window?: number | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  readonly description?: string | undefined;
}

type Wanted = { readonly last_by_subj: string } | { readonly seq: number; readonly next_by_subj?: string };

/** What is asked of JetStream: its requests as the protocol has them, so that every answer and every failure is known for what it is. */
export class JetStream {
  readonly #link: NatsLink;
  /** Streams of which only the leader is asked, as their replicas may be behind. */
  readonly #replicated = new Set<string>();

  constructor(link: NatsLink) {
    this.#link = link;
  }

  /** Whether messages of this stream are on several servers. */
  setReplicated(stream: string, isReplicated: boolean): void {
    if (isReplicated) this.#replicated.add(stream);
    else this.#replicated.delete(stream);
  }

  /**
   * Stores a message; `last`: only if the last one of its subject has this sequence (0: there is none), else the answer is `undefined`. Without `last` the caller must not mind
   * storing it twice.
   */
  async put(what: string, subject: string, data: Uint8Array, last?: number): Promise<number | undefined> {
    let headers: ReturnType<NatsLink["newHeaders"]> | undefined;
    if (last !== undefined) {
      headers = this.#link.newHeaders();
      headers.set("Nats-Expected-Last-Subject-Sequence", String(last));
    }
    const message = await this.#link.request(what, subject, data, headers);
    const { error, seq } = parse(message, what) as { error?: ApiError; seq?: number };
    if (error?.err_code === apiErrors.wrongLastSequence) return undefined;
    if (error !== undefined) throw refusedBy(error, what);
    return seq;
  }

  /** The last message of a subject, by the stream's leader where there are several servers. */
  last(what: string, stream: string, subject: string): Promise<StoredMessage | undefined> {
    const wanted = { last_by_subj: subject };
    return this.#replicated.has(stream) ? this.#leaders(what, stream, wanted) : this.#direct(what, stream, wanted);
  }

  /**
   * The first message of a subject from a sequence on. `"any"`: a replica may answer that does not have it yet, and one that is catching up after its start (of 2.9.10, at least) answers with a later one; so whoever asks it must
   * see whether something is missing.
   */
  next(
    what: string,
    stream: string,
    subject: string,
    sequence: number,
    ask: "any" | "leader" = "leader",
  ): Promise<StoredMessage | undefined> {
    const wanted = { seq: Math.max(1, sequence), next_by_subj: subject };
    const leads = ask === "leader" && this.#replicated.has(stream);
    return leads ? this.#leaders(what, stream, wanted) : this.#direct(what, stream, wanted);
  }

  async #direct(what: string, stream: string, wanted: Wanted): Promise<StoredMessage | undefined> {
    const subject = `$JS.API.DIRECT.GET.${stream}`;
    const { data, headers } = await this.#link.request(what, subject, JSON.stringify(wanted)).catch(asRead);
    if (headers === undefined) throw notUnderstood(what);
    if (headers.code === 404) return undefined;
    const sequence = Number(headers.get("Nats-Sequence"));
    const storedAt = instantOf(headers.get("Nats-Time-Stamp"));
    if (headers.code !== 0 || !(sequence > 0) || Number.isNaN(storedAt)) throw notUnderstood(what);
    return { subject: headers.get("Nats-Subject"), sequence, storedAt, data: bufferOf(data) };
  }

  async #leaders(what: string, stream: string, wanted: Wanted): Promise<StoredMessage | undefined> {
    const answer = (await this.#ask(what, `STREAM.MSG.GET.${stream}`, wanted, [apiErrors.noMessage]).catch(asRead)) as
      | { message: { subject: string; seq: number; data?: string; time: string } }
      | undefined;
    if (answer === undefined) return undefined;
    const { subject, seq, data = "", time } = answer.message;
    return { subject, sequence: seq, storedAt: instantOf(time), data: Buffer.from(data, "base64") };
  }

  // Streams ------------------------------------------------------------------------------------------------------------

  /** `undefined` when there is no such stream. */
  async info(what: string, stream: string): Promise<StreamInfo | undefined> {
    const answer = await this.#ask(what, `STREAM.INFO.${stream}`, {}, [apiErrors.streamNotFound]).catch(asRead);
    return answer as StreamInfo | undefined;
  }

  /** Every subject within the filter that has a message, in no order. */
  async subjects(what: string, stream: string, filter: string): Promise<string[]> {
    const found: string[] = [];
    for (;;) {
      const request = { subjects_filter: filter, offset: found.length };
      const answer = await this.#ask(what, `STREAM.INFO.${stream}`, request).catch(asRead);
      const { state, total = 0 } = answer as StreamInfo & { total?: number };
      const names = Object.keys(state.subjects ?? {});
      found.push(...names);
      if (names.length === 0 || found.length >= total) return found;
    }
  }

  /** Makes the stream; idempotent where it is there with the same settings. `undefined`: a stream has its subjects that may be itself, as somebody else is making it right now. */
  async makeStream(what: string, config: StreamConfig): Promise<StreamInfo | undefined> {
    const made = await this.#ask(what, `STREAM.CREATE.${config.name}`, config, [apiErrors.subjectsOverlap]);
    return made as StreamInfo | undefined;
  }

  /** Removes what has the subject (wildcards allowed), up to but without a sequence when that is given. */
  async purge(what: string, stream: string, subject: string, below?: number): Promise<void> {
    // To the server 1 is no limit: it would remove all.
    if (below !== undefined && below <= 1) return;
    await this.#ask(what, `STREAM.PURGE.${stream}`, {
      filter: subject,
      ...(below === undefined ? {} : { seq: below }),
    });
  }

  async #ask(what: string, name: string, request: object, absent: readonly number[] = []): Promise<object | undefined> {
    const message = await this.#link.request(what, `$JS.API.${name}`, JSON.stringify(request));
    const answer = parse(message, what) as { error?: ApiError };
    const { error } = answer;
    if (error === undefined) return answer;
    if (absent.includes(error.err_code ?? 0)) return undefined;
    throw refusedBy(error, what);
  }
}

function parse({ data }: NatsMessage, what: string): object {
  try {
    return JSON.parse(bufferOf(data).toString()) as object;
  } catch {
    throw notUnderstood(what);
  }
}

function bufferOf(data: Uint8Array): Buffer {
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength);
}

function notUnderstood(what: string): TenonError {
  const text = `What answered ${what} is no JetStream as this engine knows it; it was written for NATS 2.9 and later.`;
  return new TenonError("unsupported", text, { outcome: "unknown" });
}
