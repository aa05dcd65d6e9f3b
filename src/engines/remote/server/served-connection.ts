import { TenonError } from "../../../contracts/errors.ts";
import type { Cancel, Connection, World } from "../../../world/world.ts";
import { Channel } from "../wire/channel.ts";
import { Reader } from "../wire/cursor.ts";
import { failure } from "../wire/failure-codec.ts";
import type { Frame } from "../wire/frames.ts";
import {
  type Hello,
  hello,
  type ListOperation,
  type Operation,
  operations,
  type WatchKey,
  type Welcome,
  welcome,
} from "../wire/operations.ts";
import {
  answerBytesMax,
  frameKind,
  magic,
  partBytes,
  placeMs,
  protocolVersion,
  silentBeatsMax,
} from "../wire/protocol.ts";
import { failureFor } from "./failures.ts";
import type { Caller, Handler } from "./handlers.ts";
import type { ServedMember } from "./served-member.ts";
import { ServedWatch } from "./served-watch.ts";

export interface ConnectionSettings {
  readonly world: World;
  readonly handlers: ReadonlyMap<number, Handler>;
  readonly welcome: Welcome;
  /** A client has said who it is. False when a later connection of it is here already; those before it have ended when it answers. */
  readonly greeted: (connection: ServedConnection, hello: Hello) => boolean;
  /** Called once. */
  readonly ended: (connection: ServedConnection) => void;
}

/** Requests of one connection that are under way at a time; what waits by its nature does not count. */
const countMax = 4_096;
const bytesMax = 64 * 1024 * 1024;
/** How long a peer may take to say who it is. */
const greetingMs = 10_000;
const beatMs = { shortest: 250, longest: 60_000 };

interface Wait {
  readonly operation: Operation<unknown, unknown>;
  readonly controller: AbortController;
}

/** One connection of a client, from its hello on. */
export class ServedConnection {
  readonly #settings: ConnectionSettings;
  readonly #channel: Channel;
  readonly #members = new Set<ServedMember>();
  readonly #watches = new Map<number, ServedWatch<unknown>>();
  /** Requests that can be ended before they are answered, by id. */
  readonly #waits = new Map<number, Wait>();
  /** What every request may ask; one that waits has a signal of its own. */
  readonly #caller: Caller = {
    signal: new AbortController().signal,
    carry: (member) => this.#carry(member),
    watch: (key, open, itemBytes) => this.#watch(key, open, itemBytes),
    endWatch: (number) => this.#endWatch(number),
  };
  #hello: Hello | undefined;
  #isOver = false;
  #isFinishing = false;
  #countUnderWay = 0;
  #bytesUnderWay = 0;
  #idle: (() => void)[] = [];
  #silence: Cancel | undefined;
  #silentBeats = 0;

  constructor(connection: Connection, settings: ConnectionSettings) {
    this.#settings = settings;
    this.#channel = new Channel(connection, {
      received: (frame) => this.#received(frame),
      heard: () => {
        this.#silentBeats = 0;
      },
      broken: (error) => this.#broken(error),
      hold: () => this.#hold(),
    });
    this.#silence = settings.world.timers.schedule(greetingMs, () => this.end());
  }

  get client(): string | undefined {
    return this.#hello?.client;
  }

  /** The client's number of this connection. */
  get number(): number {
    return this.#hello?.connection ?? 0;
  }

  #received(frame: Frame): void {
    if (this.#hello === undefined) {
      this.#greet(frame);
      return;
    }
    switch (frame.kind) {
      case frameKind.request:
        this.#request(frame);
        break;
      case frameKind.cancel:
        this.#waits.get(frame.id)?.controller.abort(new TenonError("timeout", "the client has given the request up"));
        break;
      case frameKind.ping:
        for (const member of this.#members) member.heard();
        this.#channel.send(frameKind.pong, frame.id);
        break;
      default:
        throw new RangeError(`a client sends no frame of kind ${frame.kind}`);
    }
  }

  #greet({ kind, body }: Frame): void {
    if (kind !== frameKind.hello) throw new RangeError("a client says hello first");
    const said = hello.read(new Reader(body));
    if (said.magic !== magic) throw new RangeError("this is no client of ours");
    if (said.version !== protocolVersion) {
      const text = `this server speaks version ${protocolVersion} of the protocol, not ${said.version}; update the older side`;
      this.#refuse(new TenonError("unsupported", text));
      return;
    }
    this.#hello = said;
    if (!this.#settings.greeted(this, said)) {
      this.end();
      return;
    }
    const { welcome: answer } = this.#settings;
    this.#channel.sendBytesMax = answerBytesMax;
    this.#channel.receiveBytesMax = answer.requestBytesMax;
    this.#channel.send(frameKind.welcome, 0, (writer) => welcome.write(writer, answer));
    this.#listenForBeats();
  }

  #refuse(error: TenonError): void {
    this.#channel.send(frameKind.failure, 0, (writer) => failure.write(writer, error));
    void this.#channel.flushed().then(() => this.end());
  }

  /** Beats are counted, not time: after a pause of this process, what came meanwhile is read before the next beat. */
  #listenForBeats(): void {
    this.#silence?.();
    const { heartbeatMs } = this.#hello!;
    const everyMs = Math.min(beatMs.longest, Math.max(beatMs.shortest, heartbeatMs));
    this.#silence = this.#settings.world.timers.schedule(everyMs, () => {
      this.#silentBeats += 1;
      if (this.#silentBeats > silentBeatsMax) this.end();
      else this.#listenForBeats();
    });
  }

  // Requests --------------------------------------------------------------------------------------------------------------

  #request({ id, body }: Frame): void {
    const reader = new Reader(body);
    const code = reader.u8();
    const handler = this.#settings.handlers.get(code);
    if (handler === undefined) {
      this.#fail(id, new TenonError("unsupported", `this server knows no operation ${code}; update it`));
      return;
    }
    const { operation, carryOut } = handler;
    const request = operation.request.read(reader);
    const caller = this.#callerOf(id, operation);
    const sizeBytes = operation.waits ? 0 : body.length;
    this.#begin(operation, sizeBytes);
    let answer: Promise<unknown>;
    try {
      answer = carryOut(request, caller);
    } catch (error) {
      answer = Promise.reject(error);
    }
    answer
      .then(
        (answered) => this.#answer(id, operation, answered),
        (error: unknown) => this.#fail(id, failureFor(this.#settings.world, operation.name, error)),
      )
      .finally(() => this.#finish(id, operation, sizeBytes));
  }

  #callerOf(id: number, operation: Operation<unknown, unknown>): Caller {
    if (!operation.waits) return this.#caller;
    const controller = new AbortController();
    this.#waits.set(id, { operation, controller });
    return { ...this.#caller, signal: controller.signal };
  }

  #begin({ waits }: Operation<unknown, unknown>, sizeBytes: number): void {
    if (waits) return;
    this.#countUnderWay += 1;
    this.#bytesUnderWay += sizeBytes;
  }

  #finish(id: number, { waits }: Operation<unknown, unknown>, sizeBytes: number): void {
    this.#waits.delete(id);
    if (waits) return;
    this.#countUnderWay -= 1;
    this.#bytesUnderWay -= sizeBytes;
    if (!this.#isBusy || this.#isFinishing) this.#wake();
  }

  get #isBusy(): boolean {
    return this.#countUnderWay >= countMax || this.#bytesUnderWay >= bytesMax;
  }

  /** What is read next waits while too much is under way, or the client does not take its answers. */
  #hold(): Promise<void> | undefined {
    if (this.#isFinishing) return new Promise(() => undefined);
    if (!this.#channel.hasRoom) return this.#channel.room();
    if (!this.#isBusy) return undefined;
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #wake(): void {
    const idle = this.#idle;
    this.#idle = [];
    for (const resolve of idle) resolve();
  }

  /** Takes nothing more from the client; resolves when nothing is under way but what waits by its nature. */
  async finish(): Promise<void> {
    this.#isFinishing = true;
    while (this.#countUnderWay > 0 && !this.#isOver) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
    await this.#channel.flushed();
  }

  #answer(id: number, operation: Operation<unknown, unknown>, answer: unknown): void {
    try {
      if ("itemBytes" in operation) this.#answerInParts(id, operation as ListOperation<unknown, unknown>, answer);
      else this.#channel.send(frameKind.answer, id, (writer) => operation.answer.write(writer, answer));
    } catch (error) {
      this.#fail(id, failureFor(this.#settings.world, operation.name, error));
    }
  }

  #answerInParts(id: number, { answer: codec, itemBytes }: ListOperation<unknown, unknown>, answer: unknown): void {
    const items = answer as readonly unknown[];
    let start = 0;
    let sizeBytes = 0;
    for (let i = 0; i < items.length; i++) {
      sizeBytes += itemBytes(items[i]);
      if (sizeBytes < partBytes || i === items.length - 1) continue;
      const part = items.slice(start, i + 1);
      this.#channel.send(frameKind.part, id, (writer) => codec.write(writer, part));
      start = i + 1;
      sizeBytes = 0;
    }
    const last = start === 0 ? items : items.slice(start);
    this.#channel.send(frameKind.answer, id, (writer) => codec.write(writer, last));
  }

  #fail(id: number, error: TenonError): void {
    this.#channel.send(frameKind.failure, id, (writer) => failure.write(writer, error));
  }

  // What the connection carries ---------------------------------------------------------------------------------------------

  #carry(member: ServedMember): void {
    if (this.#isOver) return;
    for (const other of this.#members) if (other.ended) this.#members.delete(other);
    this.#members.add(member);
  }

  #watch<Item>(
    { watch: number, begins }: WatchKey,
    open: (signal: AbortSignal) => AsyncIterable<Item>,
    itemBytes: (item: Item) => number,
  ): ServedWatch<Item> {
    let watch = this.#watches.get(number) as ServedWatch<Item> | undefined;
    if (watch === undefined) {
      if (!begins) throw new TenonError("unavailable", "the watch was another connection's; begin it anew");
      watch = new ServedWatch(open, itemBytes);
      this.#watches.set(number, watch as ServedWatch<unknown>);
    }
    return watch;
  }

  #endWatch(number: number): void {
    this.#watches.get(number)?.end();
    this.#watches.delete(number);
  }

  #broken(error: unknown): void {
    const { log } = this.#settings.world;
    log.log(error instanceof RangeError ? "warn" : "debug", "a client's connection ended", { error: String(error) });
    this.end();
  }

  /** Takes nothing more from the client. Idempotent. */
  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#channel.destroy();
    this.#silence?.();
    this.#members.clear();
    for (const watch of this.#watches.values()) watch.end();
    this.#watches.clear();
    this.#wake();
    for (const [id, wait] of this.#waits) this.#giveUp(id, wait);
    this.#settings.ended(this);
  }

  #giveUp(id: number, { operation, controller }: Wait): void {
    const abort = () => {
      if (this.#waits.has(id)) controller.abort(new TenonError("unavailable", "the client is gone"));
    };
    // Who asks again under the same holder shares the place; a vanished one keeps it for a while.
    if (operation.code === operations.acquire.code) this.#settings.world.timers.schedule(placeMs, abort);
    else abort();
  }
}
