import { TenonError } from "../../../contracts/errors.ts";
import type { World } from "../../../world/world.ts";
import { LeaseState } from "../../shared/leases/lease-state.ts";
import { failureOf, isCollision } from "../failures.ts";
import type { KnownName, KnownNames } from "./known-names.ts";
import type { NameNodes } from "./name-nodes.ts";
import { encodeRecord } from "./name-record.ts";
import type { ServerClock } from "./server-clock.ts";
import { type Change, type Step, type StepAnswer, type Taken, takeSteps } from "./steps.ts";
import type { Turns } from "./turns.ts";

export interface NameQueueParts {
  readonly world: World;
  readonly names: NameNodes;
  readonly known: KnownNames;
  readonly clock: ServerClock;
  readonly turns: Pick<Turns, "call" | "changed">;
}

interface Waiting {
  readonly step: Step;
  readonly resolve: (answer: StepAnswer) => void;
  readonly reject: (error: unknown) => void;
}

const attemptsMax = 50;
/** Every so many attempts whatever else is under way is refused, so that nobody who is slower than others waits for ever. */
const interruptEvery = 5;
const backoffMs = { first: 1, longest: 50 };
const stepsMax = 64;
/** ZooKeeper's own limit, jute.maxbuffer, is 1 MiB less one byte for a request. */
const stateBytesMax = 1_000_000;
/** So many microtasks may pass between an answer and what is asked because of it: who was granted it releases, who was called asks. */
const quietTurns = 16;

/** What this process asks of one name, in the order of the calls. Each change carries as many steps as can go together. */
export class NameQueue {
  readonly #name: string;
  readonly #parts: NameQueueParts;
  readonly #waiting: Waiting[] = [];
  /** So many of them are in the change that is under way. */
  #takenCount = 0;

  constructor(name: string, parts: NameQueueParts) {
    this.#name = name;
    this.#parts = parts;
  }

  add(step: Step): Promise<StepAnswer> {
    return new Promise((resolve, reject) => this.#waiting.push({ step, resolve, reject }));
  }

  get isEmpty(): boolean {
    return this.#waiting.length === 0;
  }

  /** One change with what comes first, or none when that changes nothing. Never rejects. */
  async advance(): Promise<void> {
    try {
      await this.#untilQuiet();
      await this.#carryOut();
    } catch (error) {
      for (const { reject } of this.#waiting.splice(0, this.#takenCount)) reject(error);
    }
  }

  /** A collision with somebody else's change decides it anew. */
  async #carryOut(): Promise<void> {
    const remembered = this.#parts.known.get(this.#name);
    if (remembered !== undefined && (await this.#attempt(remembered))) return;
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      // Where nothing can be read, everybody hears of it at once.
      this.#takenCount = this.#waiting.length;
      if (await this.#attempt(await this.#read(attempt))) return;
      await this.#pause(attempt);
    }
    const text = `Others changed ${this.#name} each of the ${attemptsMax} times that it was tried; nothing was changed. Try again.`;
    throw new TenonError("overloaded", text, { fields: { name: this.#name, attempts: attemptsMax } });
  }

  #read(attempt: number): Promise<KnownName> {
    const { names } = this.#parts;
    return attempt % interruptEvery === 0 ? names.interrupt(this.#name) : names.read(this.#name);
  }

  /** Lets those who were just answered ask again, so that it goes along. */
  async #untilQuiet(): Promise<void> {
    for (let seen = 0; seen !== this.#waiting.length && seen < stepsMax; ) {
      seen = this.#waiting.length;
      for (let turn = 0; turn < quietTurns; turn++) await undefined;
    }
    this.#putReleasesFirst();
  }

  /** So that who asks in the same turn need not wait for a later change. None overtakes what its own holder has asked before. */
  #putReleasesFirst(): void {
    const holders = new Set<string>();
    const [first, rest]: [Waiting[], Waiting[]] = [[], []];
    for (const waiting of this.#waiting) {
      const { step } = waiting;
      const goesFirst = step.type === "release" && !holders.has(step.holder);
      holders.add(holderOf(step));
      (goesFirst ? first : rest).push(waiting);
    }
    this.#waiting.splice(0, this.#waiting.length, ...first, ...rest);
  }

  /** `false`: somebody has changed the name since it was known. */
  async #attempt(known: KnownName): Promise<boolean> {
    const { names } = this.#parts;
    let base = known;
    let foreseen = await this.#foreseeWithNext(base);
    if (!foreseen.isChange) {
      this.#takenCount = this.#waiting.length;
      const seen = await names.look(this.#name);
      base = seen.known;
      foreseen = this.#foresee(base, seen.now);
      if (!foreseen.isChange) {
        this.#answer(foreseen.answers);
        return true;
      }
    }
    const record = this.#record(base, foreseen.answers.length);
    try {
      const written = await names.write(this.#name, base, record);
      this.#changed(base, written);
      return true;
    } catch (error) {
      this.#parts.known.forget(this.#name);
      if (isCollision(error)) return false;
      throw failureOf(error, "a change of a lease", "unknown");
    }
  }

  /** If then somebody of this process is the next one, it asks in the same change: so a release hands the name over. */
  async #foreseeWithNext(known: KnownName): Promise<Taken> {
    const now = Math.max(known.changedAt, this.#parts.clock.notLaterThan);
    const foreseen = this.#foresee(known, now);
    const next = foreseen.state.nextTurn(now);
    if (next === undefined || this.#asks(next) || !this.#parts.turns.call(this.#name, next)) return foreseen;
    await this.#untilQuiet();
    return this.#foresee(known, now);
  }

  #asks(holder: string): boolean {
    return this.#waiting.some(({ step }) => step.type === "acquire" && step.request.holder === holder);
  }

  /** What would come of the first steps at that time. What does come of them is decided by the time of the change. */
  #foresee(known: KnownName, now: number): Taken & { readonly state: LeaseState } {
    const state = LeaseState.decode(known.state);
    const steps = this.#steps(Math.min(stepsMax, this.#waiting.length));
    const taken = takeSteps(state, steps, { change: known.change + 1, changedAt: now });
    this.#takenCount = taken.answers.length;
    return { ...taken, state };
  }

  #steps(count: number): readonly Step[] {
    return this.#waiting.slice(0, count).map(({ step }) => step);
  }

  /** As many of these steps as fit into a node; leaves room so that what was granted can be given back. */
  #record({ state, change, changedAt }: KnownName, count: number): Buffer {
    const record = encodeRecord(state, this.#steps(count));
    if (record.length <= stateBytesMax) return record;
    this.#takenCount = 1;
    const after = LeaseState.decode(state);
    takeSteps(after, this.#steps(1), { change, changedAt });
    const sizeBytes = after.encode().length;
    if (sizeBytes > Math.max(stateBytesMax, state.length)) throw tooMany(this.#name, sizeBytes);
    return encodeRecord(state, this.#steps(1));
  }

  #changed(base: KnownName, written: Change & { readonly version: number }): void {
    const state = LeaseState.decode(base.state);
    const steps = this.#steps(this.#takenCount);
    const { answers } = takeSteps(state, steps, written);
    const { bucketVersion } = base;
    const { version, change, changedAt } = written;
    this.#parts.known.keep(this.#name, { bucketVersion, version, change, changedAt, state: state.encode() });
    this.#answer(answers);
    const { turns } = this.#parts;
    turns.changed(
      this.#name,
      steps.some((step, index) => holds(step, answers[index]) && state.isOwnedBy(holderOf(step))),
    );
    const next = state.nextTurn(changedAt);
    if (next !== undefined && !this.#asks(next)) turns.call(this.#name, next);
  }

  #answer(answers: readonly StepAnswer[]): void {
    for (const [index, { resolve }] of this.#waiting.splice(0, answers.length).entries()) resolve(answers[index]!);
  }

  async #pause(attempt: number): Promise<void> {
    const { random, timers } = this.#parts.world;
    await timers.sleep(random.float() * Math.min(backoffMs.longest, backoffMs.first * 2 ** attempt));
  }
}

function holderOf(step: Step): string {
  return step.type === "acquire" ? step.request.holder : step.holder;
}

/** By its answer, the step's holder owns the name. */
function holds({ type }: Step, answer: StepAnswer): boolean {
  if (type === "renew") return answer === true;
  return type === "acquire" && typeof answer === "object" && answer.type === "granted";
}

function tooMany(name: string, sizeBytes: number): TenonError {
  const text = `${name} has so many holders and requests that ZooKeeper cannot hold them in one node; nothing was changed. Try again later, or split the name.`;
  return new TenonError("overloaded", text, { fields: { name, sizeBytes } });
}
