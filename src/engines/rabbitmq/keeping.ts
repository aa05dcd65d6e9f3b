/** So many changes in a row that nobody else came between say that this process is alone, at first and at most. */
const aloneMin = 8;
const aloneMax = 1_024;
/** So many values are remembered, those that were changed last. */
const valuesMax = 8_192;

interface History {
  /** As this process left the value. */
  version: number;
  /** Its changes in a row since somebody else had changed it. */
  alone: number;
  /** So many of them are wanted for the lock to be kept. */
  wanted: number;
}

/**
 * Which values this process seems to be the only one to change, by their versions. Their locks are worth keeping beyond a change; of the others that would cost everybody else
 * a wait. Who thought to be alone and was not has to see twice as many changes before it thinks so again.
 */
export class Keeping {
  readonly #histories = new Map<string, History>();

  /** This process took the value at one version and leaves it at another one. Answers whether its lock is worth keeping. */
  changed(name: string, from: number, to: number): boolean {
    const history = this.#histories.get(name) ?? { version: -1, alone: -1, wanted: aloneMin };
    if (history.version === from) history.alone += 1;
    else {
      if (history.alone >= history.wanted) history.wanted = Math.min(history.wanted * 2, aloneMax);
      history.alone = 0;
    }
    history.version = to;
    this.#use(name, history);
    return history.alone >= history.wanted;
  }

  /** What became of the value is not known. */
  forget(name: string): void {
    this.#histories.delete(name);
  }

  #use(name: string, history: History): void {
    this.#histories.delete(name);
    this.#histories.set(name, history);
    if (this.#histories.size <= valuesMax) return;
    const [oldest] = this.#histories.keys();
    this.#histories.delete(oldest!);
  }
}
