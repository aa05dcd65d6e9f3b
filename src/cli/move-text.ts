import type { MoveProgress } from "../moving/index.ts";
import type { Output } from "./surroundings.ts";

/** How long a line about the same stage has to wait where lines cannot be redrawn, in milliseconds. */
const lineMsMin = 10_000;

const stages: Readonly<Record<MoveProgress["stage"], string>> = {
  copying: "copying, while publishers and consumers go on where they are",
  closing: "publishers wait until the last messages are copied",
  copied: "publishers go to the other engine, and where the groups stand is carried over",
  moved: "consumers go to the other engine",
  forwarding: "what is still to come follows to the other engine",
};

/** Says how a move goes on: a line for each stage and for whom it waits, and below it how far it is. */
export class MoveText {
  readonly #out: Output;
  readonly #now: () => number;
  #headline = "";
  #saidAt = 0;
  #isRedrawn = false;

  constructor(out: Output, now: () => number) {
    this.#out = out;
    this.#now = now;
  }

  show(progress: MoveProgress): void {
    // Most topics have nothing that follows.
    if (progress.stage === "forwarding" && !isUnderWay(progress)) return;
    const headline = `${progress.topic}: ${waiting(progress) ?? stages[progress.stage]}`;
    const isNew = headline !== this.#headline;
    this.#headline = headline;
    if (isNew) this.line(headline);
    if (isUnderWay(progress)) this.#figures(`${progress.topic}: ${figures(progress)}`, isNew);
  }

  line(text: string): void {
    this.clear();
    this.#out.write(`${text}\n`);
  }

  /** Takes away what would be redrawn. */
  clear(): void {
    if (this.#isRedrawn) this.#out.write("\r\x1b[2K");
    this.#isRedrawn = false;
  }

  #figures(text: string, isNew: boolean): void {
    if (this.#out.isTTY === true) {
      this.#out.write(`\r\x1b[2K${text.slice(0, (this.#out.columns ?? 80) - 1)}`);
      this.#isRedrawn = true;
    } else if (isNew || this.#now() >= this.#saidAt + lineMsMin) {
      this.#saidAt = this.#now();
      this.line(text);
    }
  }
}

function isUnderWay({ lag, delayedCount }: MoveProgress): boolean {
  return lag + delayedCount > 0;
}

function waiting({ waitsFor }: MoveProgress): string | undefined {
  if (waitsFor === undefined) return undefined;
  const { group, members } = waitsFor;
  return `group ${group} still has ${counted(members, "member")}; they leave when they use moving()`;
}

function figures({ copiedCount, lag, delayedCount }: MoveProgress): string {
  const delayed = delayedCount === 0 ? "" : `, ${grouped(delayedCount)} wait until they are due`;
  return `${grouped(copiedCount)} copied, ${grouped(lag)} to copy${delayed}`;
}

export function counted(count: number, what: string): string {
  return `${grouped(count)} ${what}${count === 1 ? "" : "s"}`;
}

function grouped(count: number): string {
  return count.toLocaleString("en-US");
}
