/** Carries out what belongs to one place one after the other, in the order of the calls, whatever becomes of each. */
export class InOrder {
  readonly #last = new Map<string, Promise<unknown>>();

  run<Answer>(place: string, work: () => Promise<Answer>): Promise<Answer> {
    const former = this.#last.get(place);
    const mine = former === undefined ? work() : former.then(work, work);
    this.#last.set(place, mine);
    const forget = () => {
      if (this.#last.get(place) === mine) this.#last.delete(place);
    };
    mine.then(forget, forget);
    return mine;
  }
}
