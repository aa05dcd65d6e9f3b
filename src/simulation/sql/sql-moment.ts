import { SeededGenerator } from "../seeded-generator.ts";

/** What a statement takes from outside of the database: when it runs, and chance. Run again at the same moment it does the same. */
export interface SqlMoment {
  readonly epochMs: number;
  readonly seed: number;
}

/** What is used of a `DatabaseSync` from node:sqlite. */
export interface FunctionHost {
  function(
    name: string,
    options: { readonly varargs: boolean; readonly deterministic: boolean; readonly useBigIntArguments: boolean },
    fn: (...parameters: SqlParameter[]) => SqlParameter,
  ): void;
}

/** Answers `SELECT <call> AS value` by SQLite's own functions. */
export type Evaluate = (call: string, parameters: readonly SqlParameter[]) => SqlParameter;

type SqlParameter = null | number | bigint | string | Uint8Array;

/** SQLite's functions that ask for the time, with the number of parameters before the first instant. */
const functionsOfTime = { date: 0, time: 0, datetime: 0, julianday: 0, unixepoch: 0, strftime: 1 };
const formatsOfNow = { current_date: "%Y-%m-%d", current_time: "%H:%M:%S", current_timestamp: "%Y-%m-%d %H:%M:%S" };

/** Lets SQLite's time and chance be those of the moment, so that a database is as deterministic as what asks it. */
export class SqlMoments {
  readonly #evaluate: Evaluate;
  #moment: SqlMoment = { epochMs: 0, seed: 0 };
  #generator: SeededGenerator | undefined;

  constructor(evaluate: Evaluate) {
    this.#evaluate = evaluate;
  }

  set(moment: SqlMoment): void {
    this.#moment = moment;
    this.#generator = undefined;
  }

  install(host: FunctionHost): void {
    // Time stands still while a statement runs.
    const ofTime = { deterministic: true, useBigIntArguments: true };
    const ofChance = { deterministic: false, useBigIntArguments: true };
    for (const [name, format] of Object.entries(formatsOfNow))
      host.function(name, { ...ofTime, varargs: false }, () => this.#evaluate("strftime(?, ?)", [format, this.#now]));
    for (const [name, before] of Object.entries(functionsOfTime))
      host.function(name, { ...ofTime, varargs: true }, (...given) => this.#time(name, before, given));
    host.function("random", { ...ofChance, varargs: false }, () => this.#randomInteger());
    host.function("randomblob", { ...ofChance, varargs: true }, (sizeBytes = 1) =>
      this.#chance.fill(new Uint8Array(Math.max(1, Number(sizeBytes)))),
    );
  }

  #time(name: string, before: number, given: readonly SqlParameter[]): SqlParameter {
    const [format, instant, modifiers] = [given.slice(0, before), given[before] ?? null, given.slice(before + 1)];
    const isNow = given.length === before || (typeof instant === "string" && instant.toLowerCase() === "now");
    const parameters = [...format, isNow ? this.#now : instant, ...modifiers];
    return this.#evaluate(`${name}(${parameters.map(() => "?").join(", ")})`, parameters);
  }

  /** Written as SQLite writes instants; a Julian day would lose milliseconds. */
  get #now(): string {
    const seconds = Math.floor(this.#moment.epochMs / 1_000);
    const fraction = String(this.#moment.epochMs - seconds * 1_000).padStart(3, "0");
    return `${this.#evaluate("datetime(?, 'unixepoch')", [seconds])}.${fraction}`;
  }

  get #chance(): SeededGenerator {
    this.#generator ??= new SeededGenerator(this.#moment.seed);
    return this.#generator;
  }

  #randomInteger(): bigint {
    const bits = (BigInt(this.#chance.uint32()) << 32n) | BigInt(this.#chance.uint32());
    return BigInt.asIntN(64, bits);
  }
}
