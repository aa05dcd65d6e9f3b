import { TenonError } from "../contracts/errors.ts";
import type { MessageHeaders } from "../contracts/messages.ts";

/** What a binding of an exchange asks for; which of them stands depends on the exchange's type. */
export interface BindingArguments {
  /** Of a direct exchange: the routing key that it takes. */
  readonly routingKey?: string | undefined;
  /** Of a topic exchange: words joined by dots, where `*` stands for one word and `#` for any number of them, also none. */
  readonly pattern?: string | undefined;
  /** Of a headers exchange: what the message's headers must be. */
  readonly headers?: MessageHeaders | undefined;
  /** Of a headers exchange: whether all of them must be so (when left out), or any. */
  readonly match?: "all" | "any" | undefined;
  /** Of an exchange with a matcher of your own: whatever that makes of them. */
  readonly arguments?: Readonly<Record<string, string>> | undefined;
}

/** What is routed. */
export interface RoutedMessage {
  readonly routingKey: string;
  readonly headers: MessageHeaders;
}

/** A type of exchange of your own. Every process must bring the same code under the same name. */
export interface ExchangeMatcher {
  readonly name: string;
  /** Whether a message goes to a topic that was bound with these arguments. It must not throw. */
  readonly matches: (bound: Readonly<Record<string, string>>, message: RoutedMessage) => boolean;
}

export type ExchangeType = "direct" | "fanout" | "topic" | "headers" | ExchangeMatcher;

/** How one type of exchange reads its bindings. */
export interface Matching {
  readonly type: string;
  /** Whether nothing but the routing key decides, so that a decision may be remembered. */
  readonly byKeyAlone: boolean;
  /** The arguments as they are kept, the same for what means the same. `invalid` when they do not fit the type. */
  canonical(given: BindingArguments): BindingArguments;
  matches(bound: BindingArguments, message: RoutedMessage): boolean;
}

export function matchingOf(exchange: string, type: ExchangeType): Matching {
  switch (type) {
    case "direct":
      return {
        type,
        byKeyAlone: true,
        canonical: (given) => ({ routingKey: text(exchange, given, "routingKey") }),
        matches: (bound, { routingKey }) => bound.routingKey === routingKey,
      };
    case "fanout":
      return {
        type,
        byKeyAlone: true,
        canonical(given) {
          only(exchange, given, []);
          return {};
        },
        matches: () => true,
      };
    case "topic":
      return {
        type,
        byKeyAlone: true,
        canonical: (given) => ({ pattern: text(exchange, given, "pattern") }),
        matches: (bound, { routingKey }) => patternTakes(bound.pattern!, routingKey),
      };
    case "headers":
      return {
        type,
        byKeyAlone: false,
        canonical: (given) => headersArguments(exchange, given),
        matches: ({ headers, match }, message) => headersMatch(headers!, match!, message.headers),
      };
    default:
      return ownMatching(exchange, type);
  }
}

/** As a glob over words: where a `#` stood last, one word more is tried. */
export function patternTakes(pattern: string, routingKey: string): boolean {
  const wanted = words(pattern);
  const given = words(routingKey);
  let at = 0;
  let word = 0;
  let hash = -1;
  let hashWord = 0;
  while (word < given.length) {
    if (at < wanted.length && wanted[at] === "#") {
      hash = at++;
      hashWord = word;
    } else if (at < wanted.length && (wanted[at] === "*" || wanted[at] === given[word])) {
      at++;
      word++;
    } else if (hash >= 0) {
      at = hash + 1;
      word = ++hashWord;
    } else {
      return false;
    }
  }
  while (at < wanted.length && wanted[at] === "#") at++;
  return at === wanted.length;
}

function words(joined: string): readonly string[] {
  return joined === "" ? [] : joined.split(".");
}

function headersMatch(bound: MessageHeaders, match: "all" | "any", headers: MessageHeaders): boolean {
  const names = Object.keys(bound);
  const same = (name: string): boolean => Object.hasOwn(headers, name) && headers[name] === bound[name];
  return match === "all" ? names.every(same) : names.some(same);
}

function headersArguments(exchange: string, given: BindingArguments): BindingArguments {
  only(exchange, given, ["headers", "match"]);
  const { headers, match = "all" } = given;
  if (match !== "all" && match !== "any") throw wrong(exchange, `match is ${String(match)}; give "all" or "any"`);
  return { headers: record(exchange, "headers", headers), match };
}

function ownMatching(exchange: string, type: ExchangeMatcher): Matching {
  const named = typeof type === "object" && type !== null && /^[A-Za-z0-9_-]{1,100}$/.test(type.name);
  if (!named || typeof type.matches !== "function") {
    throw wrong(exchange, "its type is none: give direct, fanout, topic, headers, or { name, matches }");
  }
  return {
    type: `own:${type.name}`,
    byKeyAlone: false,
    canonical(given) {
      only(exchange, given, ["arguments"]);
      return { arguments: record(exchange, "arguments", given.arguments ?? {}) };
    },
    matches: (bound, message) => type.matches(bound.arguments!, message) === true,
  };
}

const textLengthMax = 1_000;

function text(exchange: string, given: BindingArguments, name: "routingKey" | "pattern"): string {
  only(exchange, given, [name]);
  const value = given[name];
  if (typeof value === "string" && value.length <= textLengthMax && value.isWellFormed()) return value;
  throw wrong(exchange, `a binding needs a ${name}, a text of at most ${textLengthMax} characters`);
}

/** Sorted by name, so that the same arguments are the same binding. */
function record(exchange: string, name: string, given: unknown): Readonly<Record<string, string>> {
  const entries = typeof given === "object" && given !== null ? Object.entries(given) : undefined;
  if (entries?.every(([, value]) => typeof value === "string")) {
    return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  }
  throw wrong(exchange, `a binding needs ${name}, an object of texts`);
}

/** What another type would look at is a mistake, not something to overlook. */
function only(exchange: string, given: BindingArguments, names: readonly string[]): void {
  if (typeof given !== "object" || given === null) throw wrong(exchange, "a binding's arguments are no object");
  const other = Object.entries(given).find(([name, value]) => value !== undefined && !names.includes(name));
  if (other === undefined) return;
  throw wrong(exchange, `its type has no use for ${other[0]}; a binding takes ${names.join(", ") || "no arguments"}`);
}

function wrong(exchange: string, what: string): TenonError {
  return new TenonError("invalid", `Exchange "${exchange}": ${what}.`, { fields: { exchange } });
}
