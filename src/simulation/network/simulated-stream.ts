import { crc32 } from "node:zlib";
import type { SimulatedEvent } from "../event-queue.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import type { NetworkHost, NetworkMedium } from "./network-medium.ts";

/** How long after a way has opened again the kernel may take to send again what was lost. */
const RETRANSMISSION_MS_MAX = 3_000;

/** The side that sends. */
export interface StreamSource {
  /** Whether bytes wait for room. */
  readonly waiting: boolean;
  roomGrew(): void;
  /** Everything sent has arrived, and the sender's kernel knows. */
  acknowledged(): void;
  broke(reason: string): void;
}

/** The side that receives. */
export interface StreamSink {
  /** Whether its kernel knows the connection. */
  readonly known: boolean;
  opened(): void;
  received(bytes: Uint8Array): void;
  ended(): void;
  broke(reason: string): void;
}

export interface StreamParts {
  readonly medium: NetworkMedium;
  readonly generator: SeededGenerator;
  readonly from: NetworkHost;
  readonly to: NetworkHost;
  /** How the trace calls what travels here, and what travels back because of it. */
  readonly label: string;
  readonly backLabel: string;
  /** Something has come to rest; whoever keeps the connection may forget it. */
  readonly rested: () => void;
}

type Piece =
  | { readonly what: "open" | "end" | "reset" }
  | { readonly what: "bytes"; readonly bytes: Uint8Array; readonly checksum: number };

/**
 * One direction of a connection: pieces in their order, each with its own latency. What does not arrive is sent again when the way is open, until
 * the sender gives up. A kernel that does not know the connection answers with a reset, which is sent only once, like every reset.
 */
export class SimulatedStream {
  readonly #parts: StreamParts;
  #source!: StreamSource;
  #sink!: StreamSink;
  /** What has not arrived; the first one is on its way, or held up. */
  #pieces: { readonly piece: Piece; dueAt: number }[] = [];
  #arrival: SimulatedEvent | undefined;
  #heldUpSince: number | undefined;
  /** A reset is coming back. */
  #refusal: SimulatedEvent | undefined;
  /** Something arrived, and the sender could not be told. */
  #unacknowledged = false;
  #giveUp: SimulatedEvent | undefined;
  /** Nobody sends again what is lost from now on. */
  #abandoned = false;
  /** On the way, or unread. */
  #unreadBytes = 0;
  /** Read, and the sender does not know yet. */
  #freedBytes = 0;
  #freeing: SimulatedEvent | undefined;

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  join(source: StreamSource, sink: StreamSink): void {
    this.#source = source;
    this.#sink = sink;
  }

  /** How many bytes can be sent now. */
  get roomBytes(): number {
    return Math.max(this.#parts.medium.settings.bufferBytes, 1) - this.#unreadBytes;
  }

  get atRest(): boolean {
    return this.#pieces.length === 0 && (this.#abandoned || !this.#unacknowledged);
  }

  open(): void {
    this.#send({ what: "open" });
  }

  /** The bytes must stay as they are; there has to be room for them. */
  send(bytes: Uint8Array): void {
    const { medium, generator } = this.#parts;
    for (const part of medium.split(generator, bytes)) {
      this.#unreadBytes += part.byteLength;
      this.#send({ what: "bytes", bytes: part, checksum: crc32(part) });
    }
  }

  end(): void {
    this.#send({ what: "end" });
  }

  /** The sender is no longer there to send anything again: what is lost stays lost. The other side is told by a reset, or not at all. */
  abandon(manner: "reset" | "silence"): void {
    this.#abandoned = true;
    this.#disarm();
    if (this.#heldUpSince !== undefined) this.#drop();
    else if (manner === "reset") this.#send({ what: "reset" });
    this.#parts.rested();
  }

  /** The receiving process has read so many bytes. */
  read(sizeBytes: number): void {
    this.#freedBytes += sizeBytes;
    this.#free();
  }

  /** Something in between resets it: the receiver hears so, the sender does not. */
  injectReset(): void {
    const { medium, generator, from, to, label } = this.#parts;
    medium.timeLine.schedule(medium.latencyMs(generator, from, to), `${label} reset in between`, () => {
      if (medium.reaches(from, to)) this.#sink.broke("it was reset");
    });
  }

  /** Ways or hosts have changed. */
  review(): void {
    if (this.#abandoned) return;
    if (this.#heldUpSince !== undefined && this.#refusal === undefined && this.#reaches) this.#sendAgain();
    if (this.#answers && this.#unacknowledged) this.#acknowledge();
    this.#free();
    this.probe();
  }

  /** The sender waits for room: its kernel asks from time to time whether there is some, and so learns whether anybody is there. */
  probe(): void {
    if (this.#abandoned || !this.#source.waiting) return;
    if (!this.#answers) this.#arm();
    else if (!this.#sink.known && this.#pieces.length === 0) this.#refuse();
    else if (this.#heldUpSince === undefined && !this.#unacknowledged) this.#disarm();
  }

  get #reaches(): boolean {
    const { medium, from, to } = this.#parts;
    return medium.reaches(from, to);
  }

  get #answers(): boolean {
    const { medium, from, to } = this.#parts;
    return medium.reaches(from, to) && medium.reaches(to, from);
  }

  #send(piece: Piece): void {
    const { medium, generator, from, to } = this.#parts;
    // Those before it may be due later; it does not overtake them.
    this.#pieces.push({ piece, dueAt: medium.timeLine.nowMs + medium.latencyMs(generator, from, to) });
    this.#travel();
  }

  #travel(): void {
    const first = this.#pieces[0];
    if (first === undefined || this.#arrival !== undefined || this.#heldUpSince !== undefined) return;
    const { timeLine } = this.#parts.medium;
    const label = `${this.#parts.label} ${describe(first.piece)}`;
    this.#arrival = timeLine.schedule(first.dueAt - timeLine.nowMs, label, () => {
      this.#arrival = undefined;
      this.#arrive(first.piece);
    });
  }

  #arrive(piece: Piece): void {
    if (!this.#reaches) {
      this.#holdUp();
    } else if (piece.what === "reset") {
      this.#drop();
      this.#sink.broke("it was reset by the other side");
    } else if (this.#sink.known) {
      this.#pieces.shift();
      this.#deliver(piece);
      if (this.#answers) this.#acknowledge();
      else this.#miss();
      this.#travel();
    } else {
      this.#refuse();
    }
  }

  #deliver(piece: Piece): void {
    if (piece.what === "open") this.#sink.opened();
    else if (piece.what === "bytes") this.#sink.received(piece.bytes);
    else this.#sink.ended();
  }

  #acknowledge(): void {
    this.#unacknowledged = false;
    if (this.#heldUpSince === undefined) this.#disarm();
    if (this.#pieces.length > 0) return;
    this.#source.acknowledged();
    this.#parts.rested();
  }

  #miss(): void {
    this.#unacknowledged = true;
    if (!this.#abandoned) this.#arm();
  }

  #holdUp(): void {
    const { timeLine } = this.#parts.medium;
    timeLine.note(`${this.#parts.label} ${this.#abandoned ? "lost" : "held up"}`);
    if (this.#abandoned) {
      this.#drop();
    } else {
      this.#heldUpSince = timeLine.nowMs;
      this.#arm();
    }
  }

  #sendAgain(): void {
    const { medium, generator, from, to } = this.#parts;
    const now = medium.timeLine.nowMs;
    const pauseMs = generator.float() * Math.min(now - this.#heldUpSince!, RETRANSMISSION_MS_MAX);
    const first = this.#pieces[0];
    if (first !== undefined) first.dueAt = now + pauseMs + medium.latencyMs(generator, from, to);
    this.#heldUpSince = undefined;
    this.#travel();
  }

  /** The receiving kernel does not know the connection, and says so. */
  #refuse(): void {
    if (this.#abandoned) this.#drop();
    if (this.#abandoned || this.#refusal !== undefined) return;
    const { medium, generator, from, to, backLabel } = this.#parts;
    this.#heldUpSince ??= medium.timeLine.nowMs;
    this.#refusal = medium.timeLine.schedule(medium.latencyMs(generator, to, from), `${backLabel} reset`, () => {
      this.#refusal = undefined;
      if (medium.reaches(to, from)) this.#break("it was reset by the other side");
      else this.#arm();
    });
  }

  #arm(): void {
    if (this.#giveUp !== undefined) return;
    const { medium, generator, label } = this.#parts;
    this.#giveUp = medium.timeLine.schedule(medium.giveUpMs(generator), `${label} given up`, () => {
      this.#giveUp = undefined;
      this.#break("nothing arrives at the other side any more");
    });
  }

  #disarm(): void {
    if (this.#giveUp !== undefined) this.#parts.medium.timeLine.cancel(this.#giveUp);
    this.#giveUp = undefined;
  }

  #break(reason: string): void {
    this.#abandoned = true;
    this.#disarm();
    this.#drop();
    this.#source.broke(reason);
  }

  #drop(): void {
    const { timeLine } = this.#parts.medium;
    for (const event of [this.#arrival, this.#refusal, this.#freeing]) if (event !== undefined) timeLine.cancel(event);
    this.#arrival = undefined;
    this.#refusal = undefined;
    this.#freeing = undefined;
    this.#pieces = [];
    this.#parts.rested();
  }

  #free(): void {
    if (this.#freedBytes === 0 || this.#freeing !== undefined || this.#abandoned || !this.#answers) return;
    if (this.#source.waiting) this.#tellOfRoom();
    else this.#grow();
  }

  #tellOfRoom(): void {
    const { medium, generator, from, to, backLabel } = this.#parts;
    const label = `${backLabel} has room`;
    this.#freeing = medium.timeLine.schedule(medium.latencyMs(generator, to, from), label, () => {
      this.#freeing = undefined;
      if (this.#answers) this.#grow();
    });
  }

  #grow(): void {
    this.#unreadBytes -= this.#freedBytes;
    this.#freedBytes = 0;
    this.#source.roomGrew();
  }
}

function describe(piece: Piece): string {
  return piece.what === "bytes" ? `${piece.bytes.byteLength} bytes (${piece.checksum})` : piece.what;
}
