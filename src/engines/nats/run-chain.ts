import { TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import { afterConflict } from "./conflicts.ts";
import type { JetStream } from "./jet-stream.ts";

export interface RunChainParts {
  readonly world: World;
  readonly jetStream: JetStream;
  /** What one message of the server may take. */
  readonly payloadBytesMax: number;
}

/** How a run is stored: what has to be known to build upon it, and then what it brings. */
export interface RunFormat<Head> {
  encode(head: Head, packed: readonly Buffer[]): Buffer;
  decode(bytes: Buffer): { readonly head: Head };
}

export interface RunPlace<Head> {
  readonly stream: string;
  readonly subject: string;
  readonly format: RunFormat<Head>;
  /** Told of each run that was stored. */
  readonly stored: () => void;
}

/** The chain's last run: its head, and its sequence in the stream. */
export interface LastRun<Head> {
  readonly sequence: number;
  readonly head: Head;
  /** `undefined`: it was stored from here, and was not read. */
  readonly storedAt: number | undefined;
}

/** What is wanted of the chain, given what it is: the next run, or only an answer. */
export interface Extension<Head, Answer> {
  readonly run: { readonly head: Head; readonly packed: readonly Buffer[] } | undefined;
  readonly answer: Answer;
}

/** The messages of one subject, each a run that is stored only if the run that it builds upon is still the last one. Nobody owns the chain: other processes make a change try again. */
export class RunChain<Head> {
  readonly #parts: RunChainParts;
  readonly #place: RunPlace<Head>;
  #known: LastRun<Head> | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: RunChainParts, place: RunPlace<Head>) {
    this.#parts = parts;
    this.#place = place;
  }

  /** Makes the first run when there is none. */
  async make(what: string, head: Head): Promise<void> {
    await this.#parts.jetStream.put(what, this.#place.subject, this.#place.format.encode(head, []), 0);
  }

  /** The last run as it is now; `undefined` when there is none any more. */
  async look(): Promise<LastRun<Head> | undefined> {
    const { stream, subject, format } = this.#place;
    const stored = await this.#parts.jetStream.last("looking at a partition", stream, subject);
    if (stored === undefined) return undefined;
    return { sequence: stored.sequence, head: format.decode(stored.data).head, storedAt: stored.storedAt };
  }

  /** The last run that is known here, which may not be the last one any more. */
  async recall(): Promise<LastRun<Head> | undefined> {
    return this.#known ?? (await this.look());
  }

  /** The next change looks first. */
  forget(): void {
    this.#known = undefined;
  }

  /** Puts an empty run upon the last one. `false` when that was not the last one any more. */
  async interpose(what: string, sequence: number, head: Head): Promise<boolean> {
    const { subject, format } = this.#place;
    return (await this.#parts.jetStream.put(what, subject, format.encode(head, []), sequence)) !== undefined;
  }

  /** The next run is built upon the last one, again and again until nothing came between. `undefined` when the chain is gone. */
  async extend<Answer>(
    what: string,
    build: (last: LastRun<Head>) => Promise<Extension<Head, Answer>>,
  ): Promise<Answer | undefined> {
    const { jetStream, world, payloadBytesMax } = this.#parts;
    const { subject, format, stored } = this.#place;
    for (let tries = 0; ; tries++) {
      const isKnown = this.#known !== undefined;
      const last = await this.recall();
      this.#known = undefined;
      if (last === undefined) return undefined;
      const { run, answer } = await build(last);
      if (run === undefined) {
        // What is known here may be old, and then so is the answer.
        if (isKnown) continue;
        this.#known = last;
        return answer;
      }
      const bytes = format.encode(run.head, run.packed);
      if (bytes.length > payloadBytesMax) throw tooLarge(bytes.length, payloadBytesMax);
      const put = await jetStream.put(what, subject, bytes, last.sequence);
      if (put !== undefined) {
        this.#known = { sequence: put, head: run.head, storedAt: undefined };
        stored();
        return answer;
      }
      if (tries > 0) await afterConflict(world, tries - 1);
    }
  }

  /** One after the other, in the order of the calls. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

function tooLarge(bytes: number, limit: number): TenonError {
  const text = `a batch takes ${bytes} bytes with what is remembered of its partition, and the server's max_payload is ${limit}; split it, or raise max_payload`;
  return new TenonError("invalid", text, { fields: { bytes, limit } });
}
