import type { TenonError } from "../../../contracts/errors.ts";
import type { Address, Cancel, Connection, World } from "../../../world/world.ts";
import { Channel } from "../wire/channel.ts";
import { Reader } from "../wire/cursor.ts";
import { failure } from "../wire/failure-codec.ts";
import type { Frame } from "../wire/frames.ts";
import { hello, type Operation, type Welcome, welcome } from "../wire/operations.ts";
import { answerBytesMax, frameKind, magic, protocolVersion, silentBeatsMax } from "../wire/protocol.ts";
import { lost } from "./failures.ts";

/** The clocks at one moment: a session is judged by whichever has gone further. */
export interface Moment {
  readonly monotonic: number;
  readonly wall: number;
}

export function momentOf({ clock }: World): Moment {
  return { monotonic: clock.monotonic(), wall: clock.now() };
}

export interface SessionSettings {
  readonly world: World;
  readonly address: Address;
  readonly client: string;
  /** The number of this connection. */
  readonly number: number;
  readonly heartbeatMs: number;
}

/** What a session tells its owner. Nothing is told any more after `destroy`. */
export interface SessionEvents {
  /** Requests can be sent. At most once. */
  ready(welcome: Welcome): void;
  /** It broke, or was refused. At most once. */
  lost(error: unknown): void;
  /** The server has heard a ping that was sent at this moment. */
  heard(sent: Moment): void;
  /** There is room again for what is to be sent. */
  drained(): void;
}

interface Sent {
  readonly what: string;
  readonly read: (reader: Reader) => unknown;
  /** Parts that have come already. */
  parts: unknown[] | undefined;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** One connection, from its hello on. When it is lost, whatever was sent over it is answered with `ConnectionLost`. */
export class Session {
  readonly #settings: SessionSettings;
  readonly #events: SessionEvents;
  readonly #channel: Channel;
  readonly #sent = new Map<number, Sent>();
  readonly #pings = new Map<number, Moment>();
  #isReady = false;
  #lastId = 0;
  #lastPing = 0;
  #silentBeats = 0;
  #beat: Cancel | undefined;
  #beatMs: number;
  #draining = false;

  constructor(connection: Connection, settings: SessionSettings, events: SessionEvents) {
    this.#settings = settings;
    this.#events = events;
    this.#beatMs = settings.heartbeatMs;
    this.#channel = new Channel(connection, {
      received: (frame) => this.#received(frame),
      heard: () => {
        this.#silentBeats = 0;
      },
      broken: (error) => this.#lost(error),
    });
    this.#channel.receiveBytesMax = answerBytesMax;
    const { client, number, heartbeatMs } = settings;
    this.#channel.send(frameKind.hello, 0, (writer) =>
      hello.write(writer, { magic, version: protocolVersion, client, connection: number, heartbeatMs }),
    );
  }

  /** False while so much waits to be written that more should not be added. */
  get hasRoom(): boolean {
    return this.#channel.hasRoom;
  }

  /** Sends a request; throws when it cannot be written, and then has sent nothing. The answer rejects with what the server said, or `ConnectionLost`. */
  send<Request, Answer>(
    operation: Operation<Request, Answer>,
    request: Request,
  ): { readonly id: number; readonly answer: Promise<Answer> } {
    const id = this.#nextId();
    this.#channel.send(frameKind.request, id, (writer) => {
      writer.u8(operation.code);
      operation.request.write(writer, request);
    });
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#sent.set(id, { what: operation.name, read: operation.answer.read, parts: undefined, resolve, reject });
    if (!this.#channel.hasRoom) this.#drain();
    return { id, answer: promise as Promise<Answer> };
  }

  /** The answer is not wanted any more; it may come all the same. */
  cancel(id: number): void {
    if (this.#sent.has(id)) this.#channel.send(frameKind.cancel, id);
  }

  /** Pings at least so often from now on. */
  beatWithin(ms: number): void {
    if (ms >= this.#beatMs) return;
    this.#beatMs = ms;
    if (this.#isReady) this.#beatLater();
  }

  /** Resolves when everything that was sent has been handed on. */
  flushed(): Promise<void> {
    return this.#channel.flushed();
  }

  destroy(): void {
    this.#beat?.();
    this.#channel.destroy();
    this.#loseAll(new Error("it was given up"));
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) % 2 ** 32;
    while (this.#lastId === 0 || this.#sent.has(this.#lastId));
    return this.#lastId;
  }

  #drain(): void {
    if (this.#draining) return;
    this.#draining = true;
    void this.#channel.room().then(() => {
      this.#draining = false;
      if (!this.#channel.ended) this.#events.drained();
    });
  }

  #received({ kind, id, body }: Frame): void {
    const reader = new Reader(body);
    switch (kind) {
      case frameKind.welcome:
        this.#welcomed(welcome.read(reader));
        break;
      case frameKind.part:
      case frameKind.answer:
        this.#answered(id, reader, kind === frameKind.part);
        break;
      case frameKind.failure:
        this.#failed(id, failure.read(reader));
        break;
      case frameKind.pong:
        this.#heard(id);
        break;
      default:
        throw new RangeError(`a server sends no frame of kind ${kind}`);
    }
  }

  #welcomed(answer: Welcome): void {
    if (this.#isReady) throw new RangeError("a server welcomes once");
    this.#isReady = true;
    this.#channel.sendBytesMax = answer.requestBytesMax;
    this.#beatLater();
    this.#events.ready(answer);
  }

  #answered(id: number, reader: Reader, more: boolean): void {
    const sent = this.#sent.get(id);
    // It was given up.
    if (sent === undefined) return;
    const answer = sent.read(reader);
    if (more) {
      sent.parts ??= [];
      sent.parts.push(...(answer as unknown[]));
      return;
    }
    this.#sent.delete(id);
    sent.resolve(sent.parts === undefined ? answer : sent.parts.concat(answer as unknown[]));
  }

  #failed(id: number, error: TenonError): void {
    if (id === 0) {
      this.#channel.destroy();
      this.#lost(error);
      return;
    }
    const sent = this.#sent.get(id);
    this.#sent.delete(id);
    sent?.reject(error);
  }

  #heard(ping: number): void {
    const sent = this.#pings.get(ping);
    for (const each of this.#pings.keys()) {
      if (each > ping) break;
      this.#pings.delete(each);
    }
    if (sent !== undefined) this.#events.heard(sent);
  }

  #beatLater(): void {
    this.#beat?.();
    this.#beat = this.#settings.world.timers.schedule(this.#beatMs, () => this.#beatOnce());
  }

  /** Beats are counted, not time: after a pause of this process, what came meanwhile is read before the next beat. */
  #beatOnce(): void {
    this.#silentBeats += 1;
    if (this.#silentBeats > silentBeatsMax) {
      this.#channel.destroy();
      this.#lost(new Error(`nothing was heard of the server for ${silentBeatsMax} beats`));
      return;
    }
    this.#lastPing += 1;
    this.#pings.set(this.#lastPing, momentOf(this.#settings.world));
    this.#channel.send(frameKind.ping, this.#lastPing);
    this.#beatLater();
  }

  #lost(error: unknown): void {
    this.#beat?.();
    this.#loseAll(error);
    this.#events.lost(error);
  }

  #loseAll(error: unknown): void {
    const { address } = this.#settings;
    const sent = [...this.#sent.values()];
    this.#sent.clear();
    for (const { what, reject } of sent) reject(lost(what, address, error));
  }
}
