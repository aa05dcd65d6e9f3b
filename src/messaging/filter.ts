import { crc32 } from "node:zlib";
import { murmur2OfBytes } from "../codec/key-hash.ts";
import { TenonError } from "../contracts/errors.ts";
import type { MessageHeaders } from "../contracts/messages.ts";
import { reservedPrefix, tagHeader } from "./headers.ts";

/** What a header must be. A text stands for `{ equals: text }`. A header that is not there equals nothing, is in nothing and has no prefix. */
export type HeaderTest =
  | string
  | { readonly equals: string }
  | { readonly in: readonly string[] }
  | { readonly prefix: string }
  | { readonly exists: boolean }
  | { readonly not: HeaderTest };

/** Which messages a group handles. Everything that is given must hold. */
export interface MessageFilter {
  /** The message has one of these tags. */
  readonly tags?: readonly string[] | undefined;
  /** Every named header passes its test. */
  readonly headers?: Readonly<Record<string, HeaderTest>> | undefined;
  readonly and?: readonly MessageFilter[] | undefined;
  readonly or?: readonly MessageFilter[] | undefined;
  readonly not?: MessageFilter | undefined;
}

export type HeaderPredicate = (headers: MessageHeaders) => boolean;

export interface CompiledFilter {
  readonly passes: HeaderPredicate;
  /** The same for filters that mean the same word for word, whatever the order of their parts. At most 1,024 bytes. */
  readonly fingerprint: string;
}

const fingerprintBytesMax = 900;
const depthMax = 16;

/** Throws `invalid` for what is no filter. */
export function compileFilter(filter: MessageFilter): CompiledFilter {
  const { passes, canonical } = compile(filter, "filter", 0);
  return { passes, fingerprint: shortened(canonical) };
}

/** A long one is named by its beginning, its length and two checksums, which no two filters that somebody writes have in common. */
function shortened(canonical: string): string {
  const whole = Buffer.from(canonical);
  if (whole.length <= fingerprintBytesMax) return canonical;
  const beginning = canonical.slice(0, fingerprintBytesMax / 3).toWellFormed();
  return `${beginning}… ${whole.length} ${crc32(whole).toString(16)} ${(murmur2OfBytes(whole) >>> 0).toString(16)}`;
}

interface Compiled {
  readonly passes: HeaderPredicate;
  readonly canonical: string;
}

const parts = ["tags", "headers", "and", "or", "not"];

function compile(filter: MessageFilter, where: string, depth: number): Compiled {
  checkObject(filter, where, depth, parts);
  const all: Compiled[] = [];
  if (filter.tags !== undefined) all.push(oneOf(tagHeader, filter.tags, `${where}.tags`));
  if (filter.headers !== undefined) all.push(compileHeaders(filter.headers, `${where}.headers`, depth));
  if (filter.and !== undefined) all.push(conjunction(compileList(filter.and, `${where}.and`, depth)));
  if (filter.or !== undefined) all.push(disjunction(compileList(filter.or, `${where}.or`, depth)));
  if (filter.not !== undefined) all.push(negation(compile(filter.not, `${where}.not`, depth + 1)));
  if (all.length === 0) throw refused(where, `gives none of ${parts.join(", ")}`);
  return conjunction(all);
}

function compileList(filters: readonly MessageFilter[], where: string, depth: number): readonly Compiled[] {
  if (!Array.isArray(filters) || filters.length === 0) throw refused(where, "must be a list of at least one filter");
  return filters.map((each, index) => compile(each, `${where}[${index}]`, depth + 1));
}

function compileHeaders(tests: Readonly<Record<string, HeaderTest>>, where: string, depth: number): Compiled {
  checkObject(tests, where, depth);
  const names = Object.keys(tests);
  if (names.length === 0) throw refused(where, "names no header");
  return conjunction(names.map((name) => compileTest(name, tests[name]!, `${where}.${name}`, depth + 1)));
}

function compileTest(name: string, test: HeaderTest, where: string, depth: number): Compiled {
  if (name.startsWith(reservedPrefix)) {
    throw refused(where, `cannot be tested: headers that begin with "${reservedPrefix}" are Tenon's own`);
  }
  if (typeof test === "string") return oneOf(name, [test], where);
  checkObject(test, where, depth);
  const [kind, ...more] = Object.keys(test);
  if (more.length > 0) throw refused(where, "must be one test; combine several by and, or, not");
  const quoted = JSON.stringify(name);
  if (kind === "equals" && "equals" in test) return oneOf(name, [test.equals], where);
  if (kind === "in" && "in" in test) return oneOf(name, test.in, `${where}.in`);
  if (kind === "not" && "not" in test) return negation(compileTest(name, test.not, `${where}.not`, depth + 1));
  if (kind === "exists" && "exists" in test && typeof test.exists === "boolean") {
    const exists: Compiled = { passes: (headers) => headers[name] !== undefined, canonical: `exists(${quoted})` };
    return test.exists ? exists : negation(exists);
  }
  if (kind === "prefix" && "prefix" in test && typeof test.prefix === "string") {
    const { prefix } = test;
    const passes: HeaderPredicate = (headers) => headers[name]?.startsWith(prefix) === true;
    return { passes, canonical: `prefix(${quoted},${JSON.stringify(prefix)})` };
  }
  throw refused(where, "must be a text, or one of equals, in, prefix, exists, not");
}

function oneOf(name: string, values: readonly string[], where: string): Compiled {
  if (!Array.isArray(values) || values.length === 0 || values.some((value) => typeof value !== "string")) {
    throw refused(where, "must be a text, or a list of at least one");
  }
  const wanted = [...new Set(values)].sort();
  const canonical = `in(${JSON.stringify(name)},${JSON.stringify(wanted)})`;
  const [only] = wanted;
  if (wanted.length === 1) return { passes: (headers) => headers[name] === only, canonical };
  const set = new Set<string | undefined>(wanted);
  return { passes: (headers) => set.has(headers[name]), canonical };
}

function conjunction(all: readonly Compiled[]): Compiled {
  if (all.length === 1) return all[0]!;
  const tests = all.map((each) => each.passes);
  return { passes: (headers) => tests.every((test) => test(headers)), canonical: combined("and", all) };
}

function disjunction(all: readonly Compiled[]): Compiled {
  if (all.length === 1) return all[0]!;
  const tests = all.map((each) => each.passes);
  return { passes: (headers) => tests.some((test) => test(headers)), canonical: combined("or", all) };
}

function negation({ passes, canonical }: Compiled): Compiled {
  return { passes: (headers) => !passes(headers), canonical: `not(${canonical})` };
}

function combined(operator: "and" | "or", all: readonly Compiled[]): string {
  return `${operator}(${[...new Set(all.map((each) => each.canonical))].sort().join(",")})`;
}

function checkObject(value: unknown, where: string, depth: number, allowed?: readonly string[]): void {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw refused(where, "must be an object");
  if (depth > depthMax) throw refused(where, `is nested deeper than ${depthMax}`);
  const unknown = allowed && Object.keys(value).find((name) => !allowed.includes(name));
  if (unknown !== undefined) throw refused(`${where}.${unknown}`, `is not known; there are ${parts.join(", ")}`);
}

function refused(where: string, why: string): TenonError {
  return new TenonError("invalid", `${where} ${why}.`);
}
