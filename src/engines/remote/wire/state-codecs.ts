import { TenonError } from "../../../contracts/errors.ts";
import type {
  CommitResult,
  Condition,
  KeyValueCapabilities,
  KeyValueChange,
  KeyValueEntry,
  ScanOptions,
  WatchEvent,
} from "../../../contracts/key-value.ts";
import type {
  Lease,
  LeaseCapabilities,
  LeaseDescription,
  LeaseHolder,
  LeaseRequest,
} from "../../../contracts/leases.ts";
import type { ConcurrencyRule, RateCapabilities, RateDecision, RateRule } from "../../../contracts/rates.ts";
import { bigint, boolean, bytes, type Codec, list, number, oneOf, optional, record, text, word } from "./codecs.ts";

const survives = word("nothing", "process", "machine", "replicas");

// Key-values ------------------------------------------------------------------------------------------------------------

export const keyValueCapabilities = record<KeyValueCapabilities>({
  survives,
  multipleKeys: boolean,
  watch: boolean,
  expiryLatenessMs: number,
  keyBytesMax: number,
  valueBytesMax: number,
  changesMax: number,
});

export const entry = record<KeyValueEntry>({ key: text, value: bytes, version: bigint, expiresAt: optional(number) });

/** About what it takes in a frame. */
export function entryBytes(value: KeyValueEntry | undefined): number {
  return value === undefined ? 1 : value.value.length + 2 * value.key.length + 32;
}

const condition: Codec<Condition> = {
  write(writer, value) {
    if (typeof value !== "object" || value === null) throw noCondition();
    if ("ifAbsent" in value && value.ifAbsent === true) writer.u8(0);
    else if ("ifVersion" in value) bigint.write(writer.u8(1), value.ifVersion);
    else throw noCondition();
  },
  read(reader) {
    const kind = reader.u8();
    if (kind > 1) throw new RangeError(`${kind} is no kind of a condition`);
    return kind === 0 ? { ifAbsent: true } : { ifVersion: reader.i64() };
  },
};

function noCondition(): TenonError {
  return new TenonError("invalid", "a condition is { ifAbsent: true } or { ifVersion: a bigint }");
}

export const change = oneOf<KeyValueChange>("change", {
  put: { key: text, value: bytes, ttlMs: optional(number), condition: optional(condition) },
  delete: { key: text, condition: optional(condition) },
  add: {
    key: text,
    by: number,
    min: optional(number),
    max: optional(number),
    ttlMs: optional(number),
    condition: optional(condition),
  },
  check: { key: text, condition },
});

type Committed = Extract<CommitResult, { readonly committed: true }>;
type Declined = Extract<CommitResult, { readonly committed: false }>;

const committed = record<Committed>({
  committed: word<true>(true),
  version: bigint,
  counters: list(optional(number)),
});
const declined = record<Declined>({
  committed: word<false>(false),
  failed: number,
  reason: word("condition", "bound"),
  current: optional(entry),
});

export const commitResult: Codec<CommitResult> = {
  write(writer, result) {
    boolean.write(writer, result.committed);
    if (result.committed) committed.write(writer, result);
    else declined.write(writer, result);
  },
  read: (reader) => (boolean.read(reader) ? committed.read(reader) : declined.read(reader)),
};

export const scanOptions = record<ScanOptions>({ limit: optional(number), after: optional(text) });

export const watchEvent = oneOf<WatchEvent>("event", {
  put: { entry },
  delete: { key: text, version: bigint },
  synced: {},
});

export function watchEventBytes(event: WatchEvent): number {
  return event.type === "put" ? entryBytes(event.entry) : 64;
}

// Leases ----------------------------------------------------------------------------------------------------------------

export const leaseCapabilities = record<LeaseCapabilities>({
  survives,
  fifo: boolean,
  counted: boolean,
  expiryLatenessMs: number,
  ttlMsMin: number,
  ttlMsMax: number,
  nameBytesMax: number,
  dataBytesMax: number,
});

export const leaseRequest = record<LeaseRequest>({
  holder: text,
  ttlMs: number,
  waitMs: number,
  capacity: optional(number),
  weight: optional(number),
  data: optional(text),
});

/** A lease without the instant, which is its holder's and not the server's. */
export type Grant = Omit<Lease, "since">;

export const grant = record<Grant>({ name: text, holder: text, token: bigint, ttlMs: number });

export const leaseDescription = record<LeaseDescription>({
  name: text,
  holders: list(
    record<LeaseHolder>({ holder: text, token: bigint, weight: number, data: optional(text), expiresAt: number }),
  ),
  waiting: number,
});

// Rates -----------------------------------------------------------------------------------------------------------------

export const rateCapabilities = record<RateCapabilities>({ survives, keyBytesMax: number, logLimitMax: number });

const window = { limit: number, windowMs: number, countRefusals: optional(boolean) };

export const anyRule = oneOf<RateRule | ConcurrencyRule>("rate rule", {
  fixedWindow: window,
  slidingWindow: { ...window, cells: number },
  slidingLog: window,
  leakyBucket: { ratePerSecond: number, queueMax: number },
  tokenBucket: { ratePerSecond: number, burst: number },
  concurrency: { limit: number, holdMs: number },
});

export const rateDecision = record<RateDecision>({
  allowed: boolean,
  retryAfterMs: number,
  remaining: number,
  delayMs: number,
});
