import { TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import type { Journal } from "./journal/journal.ts";

/** What the engine's parts share: the journal, the world, and whether all is over. */
export class Core {
  readonly world: World;
  readonly directory: string;
  readonly #sizeBytesMax: number;
  #journal: Journal | undefined;
  #ended: TenonError | undefined;

  constructor(world: World, directory: string, sizeBytesMax: number) {
    this.world = world;
    this.directory = directory;
    this.#sizeBytesMax = sizeBytesMax;
  }

  /** Only valid once the journal has been attached, which opening does before anything else can happen. */
  get journal(): Journal {
    return this.#journal!;
  }

  attach(journal: Journal): void {
    this.#journal = journal;
  }

  get closed(): boolean {
    return this.#ended !== undefined;
  }

  end(reason: TenonError): void {
    this.#ended ??= reason;
  }

  throwIfClosed(): void {
    if (this.#ended !== undefined) throw closedBecause(this.directory, this.#ended);
  }

  /** What somebody hears who was waiting when the engine ended. */
  closedError(): TenonError | undefined {
    return this.#ended && closedBecause(this.directory, this.#ended);
  }

  throwIfFull(what: string): void {
    const { full, sizeBytes } = this.journal;
    if (!full && sizeBytes < this.#sizeBytesMax) return;
    const limit = full ? "the disk" : `the limit of ${this.#sizeBytesMax} bytes`;
    const message = `${what} was refused: ${limit} of ${this.directory} is reached; settle more or make room, then try again`;
    throw new TenonError("overloaded", message, { fields: { directory: this.directory, sizeBytes } });
  }

  /** Has what was appended written soon; a failure reaches the engine through the journal's state. */
  flush(): void {
    this.journal.durable().catch(() => {});
  }
}

function closedBecause(directory: string, reason: TenonError): TenonError {
  if (reason.code === "closed") return reason;
  const message = `the embedded engine at ${directory} has stopped (${reason.message}); open it again`;
  return new TenonError("closed", message, { cause: reason });
}
