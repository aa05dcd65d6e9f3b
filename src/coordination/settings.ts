import { TenonError } from "../contracts/errors.ts";
import type { LeaseCapabilities } from "../contracts/leases.ts";
import type { AcquireOptions, LockOptions } from "./api.ts";

const waitMsMax = 2 ** 31 - 1;
const marginMsMax = 3_000;

/** Everything that an acquisition depends on, checked. */
export interface Settings {
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly renew: boolean;
  readonly marginMs: number;
  readonly timeoutMs: number;
  readonly data: string | undefined;
}

/** What was given at the acquisition, else when the lock was made, else the default. `what` names the lock in errors. */
export function settingsOf(
  what: string,
  capabilities: LeaseCapabilities,
  made: LockOptions,
  given: AcquireOptions = made,
): Settings {
  const ttlMs = given.ttlMs ?? made.ttlMs ?? 30_000;
  const settings: Settings = {
    ttlMs,
    waitMs: given.waitMs ?? made.waitMs ?? 10_000,
    renew: given.renew ?? made.renew ?? true,
    marginMs: given.marginMs ?? made.marginMs ?? Math.min(marginMsMax, ttlMs / 10),
    timeoutMs: given.timeoutMs ?? made.timeoutMs ?? 5_000,
    data: given.data ?? made.data,
  };
  check(what, capabilities, settings);
  return settings;
}

function check(what: string, capabilities: LeaseCapabilities, settings: Settings): void {
  const { ttlMs, waitMs, marginMs, timeoutMs, data } = settings;
  const { ttlMsMin, ttlMsMax, dataBytesMax } = capabilities;
  if (!(Number.isSafeInteger(ttlMs) && ttlMs >= ttlMsMin && ttlMs <= ttlMsMax)) {
    throw invalid(
      what,
      "ttlMs",
      ttlMs,
      `whole milliseconds from ${ttlMsMin} to ${ttlMsMax}, which is what this engine takes`,
    );
  }
  if (!isWait(waitMs))
    throw invalid(what, "waitMs", waitMs, `0 to ${waitMsMax} milliseconds, or Infinity to wait for ever`);
  if (!(Number.isFinite(marginMs) && marginMs >= 0 && marginMs <= ttlMs / 2)) {
    throw invalid(what, "marginMs", marginMs, `milliseconds from 0 to half of ttlMs, which is ${ttlMs}`);
  }
  if (!(Number.isFinite(timeoutMs) && timeoutMs > 0)) {
    throw invalid(what, "timeoutMs", timeoutMs, "milliseconds above 0");
  }
  if (typeof settings.renew !== "boolean") throw invalid(what, "renew", settings.renew, "true or false");
  checkData(what, data, dataBytesMax);
}

export function checkData(what: string, data: string | undefined, dataBytesMax: number): void {
  if (data === undefined) return;
  const sizeBytes = typeof data === "string" && data.isWellFormed() ? Buffer.byteLength(data) : Number.NaN;
  if (sizeBytes <= dataBytesMax) return;
  throw new TenonError(
    "invalid",
    `The data of ${what} must be well-formed text of at most ${dataBytesMax} bytes. Keep an address or an id there.`,
    { fields: { dataBytesMax } },
  );
}

export function isWait(waitMs: number): boolean {
  return waitMs === Number.POSITIVE_INFINITY || (Number.isFinite(waitMs) && waitMs >= 0 && waitMs <= waitMsMax);
}

/** `wanted` completes "Give …". */
export function invalid(what: string, option: string, value: unknown, wanted: string): TenonError {
  const shown = typeof value === "number" || typeof value === "boolean" ? String(value) : `of type ${typeof value}`;
  return new TenonError("invalid", `The ${option} of ${what} is ${shown}. Give ${wanted}.`, {
    fields: { option },
  });
}
