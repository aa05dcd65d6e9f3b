import { TenonError } from "../../../contracts/errors.ts";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Lease } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import { waitAtMost } from "../wait-at-most.ts";
import { Acquisition, type AcquisitionParts } from "./acquisition.ts";
import { AcquisitionIndex } from "./acquisition-index.ts";
import { nameAndHolder } from "./name-and-holder.ts";

/** How long it may take to give back what nobody waits for any more. */
const endMs = 1_000;

export interface AcquisitionsParts {
  readonly world: World;
  /** Answers how to ask for the name once; made anew for every acquisition. */
  readonly asking: (name: string) => AcquisitionParts["ask"];
  /** Gives up the place in the queue, or all that the holder has. */
  readonly leave: (name: string, holder: string, what: "place" | "all") => Promise<unknown>;
}

/** The acquisitions of one engine that are under way, by name and holder. */
export class Acquisitions {
  readonly #parts: AcquisitionsParts;
  readonly #underWay = new AcquisitionIndex();
  /** Those that are over while something may still be granted to them; who asks anew for the same holder comes after that was given back. */
  readonly #leaving = new Map<string, Promise<void>>();
  readonly #givingBack = new Set<Promise<void>>();

  constructor(parts: AcquisitionsParts) {
    this.#parts = parts;
  }

  /** Starts one, or shares the one that is under way; `conflict` when that asks for something else. */
  acquire(name: string, asked: ValidRequest, signal: AbortSignal | undefined): Promise<Lease | undefined> {
    let acquisition = this.#underWay.get(name, asked.holder);
    if (acquisition === undefined) {
      acquisition = this.#start(name, asked);
      this.#underWay.add(name, acquisition);
    } else {
      const { weight, capacity } = acquisition.request;
      if (weight !== asked.weight || capacity !== asked.capacity) {
        throw differs(name, "waits for", weight, capacity, asked);
      }
    }
    const after = this.#leaving.size > 0 ? this.#leaving.get(nameAndHolder(name, asked.holder)) : undefined;
    return acquisition.join(asked, signal, after);
  }

  /**
   * Whoever waits for the name under this holder, if it is still wanted, to be granted it without asking. What came of that is then said by `handOver`, by all means: until then what is granted
   * counts as under way.
   */
  offer(name: string, holder: string): Acquisition | undefined {
    const acquisition = this.#underWay.get(name, holder);
    return acquisition?.offer() ? acquisition : undefined;
  }

  /** Whoever asks for the name or waits for it, in the order of asking; `undefined`: nobody. */
  of(name: string): Iterable<Acquisition> | undefined {
    return this.#underWay.of(name);
  }

  /** Its turn may have come. */
  wake(name: string, holder: string): void {
    this.#underWay.get(name, holder)?.wake();
  }

  wakeAll(): void {
    for (const acquisition of this.#underWay.all()) acquisition.wake();
  }

  /** The holder gives everything up, and is released next; whoever asks for it is granted nothing. */
  give(name: string, holder: string): void {
    this.#underWay.get(name, holder)?.give();
  }

  /** As if everybody had gone for this reason. Resolves when all that was under way is answered and nobody keeps what came of it, and then everything is `idle`; at the latest after a second. */
  end(reason: TenonError, idle?: () => Promise<void>): Promise<void> {
    for (const acquisition of this.#underWay.all()) acquisition.end(reason);
    return waitAtMost(this.#parts.world, endMs, this.#givenBack().then(idle));
  }

  async #givenBack(): Promise<void> {
    await Promise.all(this.#leaving.values());
    await Promise.all(this.#givingBack);
  }

  async #giveBack(name: string, holder: string, what: "place" | "all"): Promise<void> {
    const given = this.#parts.leave(name, holder, what).then(ignore, ignore);
    this.#givingBack.add(given);
    await given;
    this.#givingBack.delete(given);
  }

  #leave(name: string, holder: string, answered: Promise<void> | undefined): void {
    if (answered === undefined) return;
    const key = nameAndHolder(name, holder);
    this.#leaving.set(key, answered);
    void answered.then(() => {
      if (this.#leaving.get(key) === answered) this.#leaving.delete(key);
    });
  }

  #start(name: string, asked: ValidRequest): Acquisition {
    const acquisition: Acquisition = new Acquisition(asked, {
      world: this.#parts.world,
      ask: this.#parts.asking(name),
      leave: (what) => this.#giveBack(name, asked.holder, what),
      ended: () => {
        if (this.#underWay.delete(name, acquisition)) this.#leave(name, asked.holder, acquisition.answered);
      },
    });
    return acquisition;
  }
}

/** `does`: `owns` or `waits for`. */
export function differs(
  name: string,
  does: string,
  ownWeight: number,
  ownCapacity: number,
  { weight, capacity }: ValidRequest,
): TenonError {
  const message = `the holder ${does} ${ownWeight} of ${ownCapacity} of ${name}, not ${weight} of ${capacity}; release that first, or use another holder`;
  return new TenonError("conflict", message, { fields: { name, weight, capacity } });
}

/** `lost`: what a renewal met. */
export function notHeld({ name, token }: Lease): TenonError {
  const message = `the lease of ${name} with token ${token} is lost: it ended or was released; acquire it again under a new holder`;
  return new TenonError("lost", message, { fields: { name, token } });
}

function ignore(): void {}
