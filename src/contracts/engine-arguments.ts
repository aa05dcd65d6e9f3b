import { TenonError } from "./errors.ts";

/** What an engine may carry, by the property, and how it is called. */
const contracts = {
  messages: "messages",
  log: "logs",
  keyValue: "key-values",
  leases: "leases",
  rates: "rates",
  sql: "SQL",
} as const;

export type ContractName = keyof typeof contracts;

/** `invalid` for what is no engine, such as the promise of one, or an engine that lacks one of these contracts. `entry`: what it was given to, `topic()`. Whoever asks the compiler hears it from there. */
export function checkEngine(entry: string, engine: unknown, ...needed: readonly ContractName[]): void {
  checkEngineAs(entry, "its first argument", engine, needed);
}

/** The same for an entry that is given more than one. `argument`: which of them it is. */
export function checkEngineAs(entry: string, argument: string, engine: unknown, needed: readonly ContractName[]): void {
  const isObject = typeof engine === "object" && engine !== null;
  if (isObject && needed.every((contract) => carries(engine, contract))) return;
  throw new TenonError(
    "invalid",
    `${entry} ${isObject ? lackOf(engine, argument, needed) : noEngine(engine, argument)}`,
  );
}

function lackOf(engine: object, argument: string, needed: readonly ContractName[]): string {
  if (propertyOf(engine, "then") !== undefined) {
    return `was given the promise of an engine as ${argument}; await it first: \`await memory()\``;
  }
  const carried = (Object.keys(contracts) as ContractName[]).filter((contract) => carries(engine, contract));
  const missing = needed.filter((contract) => !carried.includes(contract));
  if (carried.length === 0) return noEngine(engine, argument);
  const { name } = engine as { readonly name?: unknown };
  const which = typeof name === "string" ? `the engine ${name}` : "the engine";
  return `needs ${listOf(missing)}, and ${which} carries no ${listOf(missing, "or")}: it carries ${listOf(carried)}. docs/capabilities.md says which engine carries what`;
}

function noEngine(given: unknown, argument: string): string {
  const shown = given === null ? "null" : typeof given === "object" ? "an object that is none" : typeof given;
  return `needs an engine as ${argument}, such as what \`await memory()\` gives, and was given ${shown}`;
}

/** By what all contracts say of themselves, as other things have properties of these names, too: a logger has `log`. */
function carries(engine: object, contract: ContractName): boolean {
  const carried = propertyOf(engine, contract);
  return propertyOf(carried, contract === "sql" ? "dialect" : "capabilities") !== undefined;
}

function propertyOf(value: unknown, property: string): unknown {
  return (value as Readonly<Record<string, unknown>> | undefined | null)?.[property];
}

function listOf(names: readonly ContractName[], last = "and"): string {
  const called = names.map((name) => contracts[name]);
  return called.length < 2 ? called.join("") : `${called.slice(0, -1).join(", ")} ${last} ${called.at(-1)}`;
}
