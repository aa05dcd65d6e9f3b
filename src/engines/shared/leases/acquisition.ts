import { TenonError } from "../../../contracts/errors.ts";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Lease } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import { Alarm } from "./alarm.ts";

/** What the server says to a request. */
export type Answer =
  | { readonly type: "granted"; readonly lease: Lease; readonly isNew: boolean }
  | { readonly type: "refused" }
  | { readonly type: "waiting"; readonly askAgainMs: number };

export interface AcquisitionParts {
  readonly world: World;
  /** Asks once; with `waits` a place in the queue is kept until it is asked again. When `isOver`, nobody wants the answer any more. */
  readonly ask: (request: ValidRequest, waits: boolean, isOver: () => boolean) => Promise<Answer>;
  /** Gives up the place in the queue, or all that the holder has. Never rejects. */
  readonly leave: (what: "place" | "all") => Promise<void>;
  readonly ended: () => void;
}

interface Asker {
  readonly waits: boolean;
  readonly resolve: (lease: Lease | undefined) => void;
  readonly reject: (error: unknown) => void;
  /** By the monotonic clock. When it has passed while a call is under way, the asker gets what that brings. */
  readonly until: number;
}

/** A place is asked for again so often, and believed in for three times as long; see `patience` in acquire.part.lua. */
const askAgainMsMax = 1_000;

/** After `wanted` the first of these that comes to pass: granted to whoever wanted it, released by its holder, or left by everybody, so that what is still granted is given back. */
type State = "wanted" | "granted" | "released" | "left";

/** One holder's way to a name. Calls for the same holder share it, each with its own end of waiting. */
export class Acquisition {
  readonly #parts: AcquisitionParts;
  readonly #alarm: Alarm;
  /** Nearly always one, for whom a set would cost more than the rest. Made anew where it changes while somebody may look through it. */
  #askers: readonly Asker[] = [];
  /** Questions and offers of which it is not known what came: each may bring a grant, wanted or not. */
  #underWay = 0;
  #queued = false;
  /** Offers of which nobody knows what came, and which no answer to a question that was asked since has settled. */
  #doubts = 0;
  #state: State = "wanted";
  #answered: PromiseWithResolvers<void> | undefined;
  request: ValidRequest;

  constructor(request: ValidRequest, parts: AcquisitionParts) {
    this.request = request;
    this.#parts = parts;
    this.#alarm = new Alarm(parts.world);
  }

  get #over(): boolean {
    return this.#state !== "wanted";
  }

  /** When nothing is under way any more, and what nobody wanted of it is being given back; `undefined`: it is so now. */
  get answered(): Promise<void> | undefined {
    if (this.#underWay === 0) return undefined;
    this.#answered ??= Promise.withResolvers();
    return this.#answered.promise;
  }

  /** Asks along with whoever asks already; the first one `after` something, if that is given. */
  join(request: ValidRequest, signal: AbortSignal | undefined, after?: Promise<void>): Promise<Lease | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<Lease | undefined>();
    const until = this.#parts.world.clock.monotonic() + request.waitMs;
    const asker: Asker = { waits: request.waitMs > 0, resolve, reject, until };
    const first = this.#askers.length === 0;
    this.request = request;
    this.#askers = first ? [asker] : [...this.#askers, asker];
    if (first) void this.#run(after);
    else this.#alarm.ring();
    if (signal === undefined) return promise;
    const abort = (): void => this.#depart(asker, () => asker.reject(signal.reason));
    signal.addEventListener("abort", abort);
    return promise.finally(() => signal.removeEventListener("abort", abort));
  }

  /** Somebody said that its turn may have come. */
  wake(): void {
    this.#alarm.ring();
  }

  /** Whether somebody waits, and does not only ask. */
  get waits(): boolean {
    return this.#askers.some((asker) => asker.waits);
  }

  /** Whether it may be granted right now, without having asked just then. If so, `handOver` or `passOver` is called, once for each offer, when it is known what came of it. */
  offer(): boolean {
    if (this.#over) return false;
    this.#underWay++;
    return true;
  }

  /** `undefined`: it was not granted, or nobody knows. */
  handOver(lease: Lease | undefined): void {
    this.#underWay--;
    if (this.#over) this.#leave("all");
    else if (lease !== undefined) this.#grant(lease);
    else {
      this.#doubts++;
      this.#alarm.ring();
    }
    this.#settled();
  }

  /** It surely was not granted by this offer, and stands in line as before. */
  passOver(): void {
    this.#underWay--;
    if (this.#over && this.#underWay === 0 && this.#queued) this.#leave(this.#doubts > 0 ? "all" : "place");
    this.#settled();
  }

  /** The holder gives everything up; nobody is granted anything. */
  give(): void {
    this.#finish("released", (asker) => asker.resolve(undefined));
  }

  /** As if everybody had gone for this reason. */
  end({ code, message, outcome }: TenonError): void {
    // What is under way is given back afterwards, if the server answers.
    const isInDoubt = this.#underWay > 0 || this.#doubts > 0;
    const reason = new TenonError(code, message, { outcome: isInDoubt ? "unknown" : outcome });
    for (const asker of this.#askers) this.#depart(asker, () => asker.reject(reason));
  }

  #depart(asker: Asker, settle: () => void): void {
    if (!this.#askers.includes(asker)) return;
    this.#askers = this.#askers.filter((each) => each !== asker);
    if (this.#askers.length > 0) {
      settle();
      return;
    }
    this.#state = "left";
    this.#alarm.ring();
    this.#parts.ended();
    // What is under way is looked at when it is answered.
    if (this.#queued && this.#underWay === 0) void this.#parts.leave(this.#doubts > 0 ? "all" : "place");
    settle();
  }

  /** What nobody wants any more. Who was granted it otherwise, or has released it, looks to it himself. */
  #leave(what: "place" | "all"): void {
    if (this.#state === "left") void this.#parts.leave(what);
  }

  #grant(lease: Lease): void {
    this.#finish("granted", (asker) => asker.resolve(lease));
  }

  #finish(state: Exclude<State, "wanted">, settle: (asker: Asker) => void): void {
    if (this.#over) return;
    this.#state = state;
    this.#parts.ended();
    this.#alarm.ring();
    const askers = this.#askers;
    this.#askers = [];
    for (const asker of askers) settle(asker);
  }

  #settled(): void {
    if (this.#underWay === 0) this.#answered?.resolve();
  }

  async #run(after: Promise<void> | undefined): Promise<void> {
    if (after !== undefined) await after;
    while (!this.#over) {
      const present = this.#askers;
      const doubts = this.#doubts;
      this.#underWay++;
      let answer: Answer;
      try {
        answer = await this.#parts.ask(this.request, this.waits, () => this.#over);
      } catch (error) {
        this.#underWay--;
        this.#failed(error);
        this.#settled();
        return;
      }
      this.#underWay--;
      this.#queued = answer.type === "waiting";
      if (this.#over) {
        this.#giveBack(answer, doubts);
        this.#settled();
        return;
      }
      this.#doubts -= doubts;
      if (answer.type === "granted") {
        this.#grant(answer.lease);
        return;
      }
      for (const asker of present) if (!asker.waits) this.#depart(asker, () => asker.resolve(undefined));
      this.#departLate();
      if (answer.type === "waiting" && !this.#over) await this.#sleep(answer.askAgainMs);
    }
  }

  /** Whoever hears of it knows what to do; where nobody does, nothing is kept. */
  #failed(error: unknown): void {
    const isInDoubt = this.#doubts > 0;
    if (!this.#over) {
      const reason = isInDoubt ? unknownAfter(error) : error;
      this.#finish("left", (asker) => asker.reject(reason));
    } else if (isInDoubt || mayBeApplied(error)) this.#leave("all");
    else if (this.#queued) this.#leave("place");
  }

  /** Until somebody's waiting ends, or it is time to ask again. */
  async #sleep(askAgainMs: number): Promise<void> {
    const { clock } = this.#parts.world;
    let until = clock.monotonic() + Math.min(askAgainMs, askAgainMsMax);
    for (const asker of this.#askers) until = Math.min(until, asker.until);
    await this.#alarm.sleep(Math.max(0, until - clock.monotonic()));
    this.#departLate();
  }

  #departLate(): void {
    const now = this.#parts.world.clock.monotonic();
    for (const asker of this.#askers) {
      if (asker.waits && asker.until <= now) this.#depart(asker, () => asker.resolve(undefined));
    }
  }

  /** Everybody has gone while it was asked; `doubts`: as many as there were when it was asked, which the answer settles. */
  #giveBack(answer: Answer, doubts: number): void {
    // What was asked before is released by whoever gave it up; by now the holder may have asked anew.
    if (this.#state === "released") return;
    const isGranted = answer.type === "granted";
    // Who was granted it by an offer meanwhile is told here of its own lease.
    const mayHave = this.#state === "left" && this.#doubts > (isGranted ? 0 : doubts);
    if (mayHave || (isGranted && answer.isNew)) void this.#parts.leave("all");
    else if (answer.type === "waiting") void this.#parts.leave("place");
  }
}

function mayBeApplied(error: unknown): boolean {
  return !(error instanceof TenonError) || error.outcome !== "not-applied";
}

/** Asking has changed nothing, but the offer before it may have. */
function unknownAfter(error: unknown): unknown {
  if (mayBeApplied(error)) return error;
  const { code, message, fields } = error as TenonError;
  const text = `${message} The lease may have been handed over before: acquire it again under the same holder, or release it.`;
  return new TenonError(code, text, { outcome: "unknown", fields, cause: error });
}
