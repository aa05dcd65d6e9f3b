import type { TenonError } from "../../../contracts/errors.ts";
import { checkConcurrency, checkKey, checkRule } from "../../../contracts/rate-rules.ts";
import type {
  ConcurrencyRule,
  RateCapabilities,
  RateDecision,
  RateEngine,
  RateRule,
} from "../../../contracts/rates.ts";
import type { World } from "../../../world/world.ts";
import { decideLeakyBucket, decideTokenBucket } from "../../shared/rates/buckets.ts";
import { decideLog } from "../../shared/rates/log.ts";
import { decodeNumbers, encodeNumbers, type RateOutcome } from "../../shared/rates/outcomes.ts";
import { PermitState } from "../../shared/rates/permit-state.ts";
import { decideFixedWindow, decideSlidingWindow } from "../../shared/rates/windows.ts";
import type { DatabaseConnection } from "../connection.ts";
import { type Keyed, KeyedBatches } from "../keyed-batches.ts";
import type { Transaction } from "../transaction.ts";
import type { RateCommands } from "./commands.ts";

export interface RateSettings {
  readonly world: World;
  readonly commands: RateCommands;
  readonly survives: RateCapabilities["survives"];
}

type AnyRule = RateRule | ConcurrencyRule;

/** Rules of different types share nothing. Never change a letter: what was counted would be forgotten. */
const letters: Readonly<Record<AnyRule["type"], string>> = {
  fixedWindow: "f",
  slidingWindow: "w",
  slidingLog: "s",
  leakyBucket: "l",
  tokenBucket: "t",
  concurrency: "p",
};

interface State {
  readonly bytes: Buffer;
  readonly endsAt: number;
}

/** Answers, and what it makes of the state: another one, nothing (`undefined`), or `null` where it goes. No bytes: there is none. */
type Operation = (bytes: Buffer, now: number) => { readonly answer: unknown; readonly next: State | null | undefined };

/** Keys that are as good as unused are taken out so often by whoever is at work. */
const sweepEveryMs = 10_000;

/** Rates in a table, a row for each key, decided under the row's lock by the server's clock. */
export class RelationalRates implements RateEngine {
  readonly capabilities: RateCapabilities;
  readonly #connection: DatabaseConnection;
  readonly #world: World;
  readonly #batches: KeyedBatches<Operation>;
  readonly #commands: RateCommands;
  #closed: TenonError | undefined;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(connection: DatabaseConnection, { world, commands, survives }: RateSettings) {
    this.#connection = connection;
    this.#world = world;
    this.#commands = commands;
    this.#batches = new KeyedBatches((taken) =>
      connection.transaction("a rate decision", (transaction) => this.#operate(transaction, taken)),
    );
    // Each unit of a log is written again with every decision.
    this.capabilities = { survives, keyBytesMax: 1_024, logLimitMax: 2_000 };
  }

  async decide(key: string, rule: RateRule, count: number): Promise<RateDecision> {
    this.#check(key);
    checkRule(rule, count, this.capabilities);
    this.#sweepNowAndThen();
    const answer = await this.#batches.run(letters[rule.type] + key, (bytes, now) => {
      const whole = Math.floor(now);
      const state = bytes.length === 0 ? undefined : decodeNumbers(bytes.toString("latin1"));
      const { decision, next } = decideBy(rule, state, whole, count);
      return { answer: decision, next: next && { bytes: encodeNumbers(next.numbers), endsAt: next.endsAt } };
    });
    return answer as RateDecision;
  }

  async enter(key: string, rule: ConcurrencyRule, permit: string): Promise<RateDecision> {
    this.#checkPermit(key, rule, permit);
    this.#sweepNowAndThen();
    const answer = await this.#batches.run(letters.concurrency + key, (bytes, now) => {
      const state = PermitState.decode(bytes);
      const decision = state.enter(rule, permit, Math.floor(now));
      return { answer: decision, next: { bytes: state.encode(), endsAt: state.endsAt } };
    });
    return answer as RateDecision;
  }

  async leave(key: string, rule: ConcurrencyRule, permit: string): Promise<void> {
    this.#checkPermit(key, rule, permit);
    await this.#batches.run(letters.concurrency + key, (bytes) => {
      const state = PermitState.decode(bytes);
      state.leave(permit);
      return { answer: undefined, next: state.endsAt === 0 ? null : { bytes: state.encode(), endsAt: state.endsAt } };
    });
  }

  async reset(key: string, rule: AnyRule): Promise<void> {
    this.#check(key);
    if (rule?.type === "concurrency") checkConcurrency(rule, this.capabilities);
    else checkRule(rule, 1, this.capabilities);
    await this.#batches.run(letters[rule.type] + key, () => ({ answer: undefined, next: null }));
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
  }

  async #operate(transaction: Transaction, taken: readonly Keyed<Operation>[]): Promise<readonly unknown[]> {
    const names = new Map(taken.map(({ key }) => [key, Buffer.from(key)]));
    const [rows, [clock]] = await transaction.look([this.#commands.lock, [[...names.values()]]], [this.#commands.now]);
    const now = clock!.now as number;
    const states = new Map<string, State | null>();
    for (const row of rows) {
      const ended = (row.ends_at as number) <= now;
      const bytes = ended ? Buffer.alloc(0) : (row.state as Buffer);
      states.set((row.key as Buffer).toString(), { bytes, endsAt: row.ends_at as number });
    }
    const answers = taken.map(({ key, operation }) => {
      const { answer, next } = operation(states.get(key)?.bytes ?? Buffer.alloc(0), now);
      if (next !== undefined) states.set(key, next);
      return answer;
    });
    const kept = [...states].filter(([, state]) => state !== null && state.bytes.length > 0);
    const gone = [...states].filter(([, state]) => state === null || state.bytes.length === 0);
    await transaction.finish(this.#commands.write, [
      kept.map(([key]) => names.get(key)!),
      kept.map(([, state]) => state!.bytes),
      kept.map(([, state]) => state!.endsAt),
      gone.map(([key]) => names.get(key)!),
    ]);
    return answers;
  }

  #sweepNowAndThen(): void {
    const now = this.#world.clock.monotonic();
    if (now - this.#sweptAt < sweepEveryMs) return;
    this.#sweptAt = now;
    this.#connection
      .transaction("the end of rates", (transaction) => transaction.run(this.#commands.sweep))
      .catch(() => undefined);
  }

  #check(key: string): void {
    if (this.#closed !== undefined) throw this.#closed;
    checkKey("key", key, this.capabilities.keyBytesMax);
  }

  #checkPermit(key: string, rule: ConcurrencyRule, permit: string): void {
    this.#check(key);
    checkKey("permit", permit, this.capabilities.keyBytesMax);
    checkConcurrency(rule, this.capabilities);
  }
}

function decideBy(rule: RateRule, state: readonly number[] | undefined, now: number, count: number): RateOutcome {
  switch (rule.type) {
    case "fixedWindow":
      return decideFixedWindow(rule, state, now, count);
    case "slidingWindow":
      return decideSlidingWindow(rule, state, now, count);
    case "slidingLog":
      return decideLog(rule, state, now, count);
    case "leakyBucket":
      return decideLeakyBucket(rule, state, now, count);
    case "tokenBucket":
      return decideTokenBucket(rule, state, now, count);
  }
}
