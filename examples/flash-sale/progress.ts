import type { Load } from "./load.ts";

export interface ProgressStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

const barWidth = 30;

/** Shows how a load goes on: a bar that redraws itself on a terminal, about one plain line per second elsewhere. */
export class Progress {
  readonly #stream: ProgressStream;
  readonly #load: Load;
  readonly #total: number;
  readonly #timer: NodeJS.Timeout;

  constructor(stream: ProgressStream, load: Load, total: number) {
    this.#stream = stream;
    this.#load = load;
    this.#total = total;
    this.#timer = setInterval(() => this.#show(), stream.isTTY ? 100 : 1_000);
  }

  /** A line about something that happened, without disturbing the bar. */
  note(text: string): void {
    this.#stream.write(this.#stream.isTTY ? `\r\x1b[2K${text}\n` : `${text}\n`);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#show();
    if (this.#stream.isTTY) this.#stream.write("\n");
  }

  #show(): void {
    const text = progressLine(this.#load, this.#total, this.#stream.isTTY === true);
    if (this.#stream.isTTY) this.#stream.write(`\r\x1b[2K${text.slice(0, (this.#stream.columns ?? 80) - 1)}`);
    else this.#stream.write(`${text}\n`);
  }
}

export function progressLine(
  load: Pick<Load, "finished" | "counts" | "elapsedMs">,
  total: number,
  bar: boolean,
): string {
  const fraction = total === 0 ? 1 : load.finished / total;
  const filled = Math.round(fraction * barWidth);
  const rate = Math.round((load.finished / Math.max(1, load.elapsedMs)) * 1_000);
  const parts = [
    ...(bar ? [`${"█".repeat(filled)}${"░".repeat(barWidth - filled)}`] : []),
    `${Math.floor(fraction * 100)}%`,
    `${load.finished.toLocaleString("en-US")} requests`,
    `${load.counts.accepted.toLocaleString("en-US")} accepted`,
    `${load.counts["sold-out"].toLocaleString("en-US")} sold out`,
    `${rate.toLocaleString("en-US")}/s`,
  ];
  return parts.join("  ");
}
