import type { News } from "./results.ts";

/** `"missed"`: whatever there was. */
export type Hear = (news: News | "missed") => void;

/** Who hears of what changed, by the number of a topic or a log. */
export class Listeners {
  readonly #listeners = new Map<number, Set<Hear>>();

  /** Answers how to stop. */
  add(number: number, hear: Hear): () => void {
    let hears = this.#listeners.get(number);
    if (hears === undefined) {
      hears = new Set();
      this.#listeners.set(number, hears);
    }
    hears.add(hear);
    return () => {
      hears.delete(hear);
      if (hears.size === 0 && this.#listeners.get(number) === hears) this.#listeners.delete(number);
    };
  }

  tell(news: News): void {
    for (const hear of this.#listeners.get(news.topic) ?? []) hear(news);
  }

  tellAll(): void {
    for (const hears of this.#listeners.values()) for (const hear of hears) hear("missed");
  }
}
