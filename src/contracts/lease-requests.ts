import { TenonError } from "./errors.ts";
import { type LeaseCapabilities, type LeaseRequest, sharedCapacity } from "./leases.ts";

/** A request that is complete and makes sense. */
export interface ValidRequest {
  readonly holder: string;
  readonly ttlMs: number;
  readonly waitMs: number;
  readonly capacity: number;
  readonly weight: number;
  readonly data: string | undefined;
}

const waitMsMax = 2 ** 31 - 1;

export function validRequest(request: LeaseRequest, capabilities: LeaseCapabilities): ValidRequest {
  if (typeof request !== "object" || request === null) {
    throw new TenonError("invalid", "acquire needs a request with holder, ttlMs and waitMs");
  }
  const { holder, ttlMs, waitMs, capacity = 1, weight = 1, data } = request;
  validText("holder", holder, 1, capabilities.nameBytesMax);
  validTtl(ttlMs, capabilities);
  if (!(typeof waitMs === "number" && waitMs >= 0 && (waitMs <= waitMsMax || waitMs === Number.POSITIVE_INFINITY))) {
    throw new TenonError("invalid", `waitMs must be 0 to ${waitMsMax}, or Infinity, not ${waitMs}`);
  }
  if (!(Number.isInteger(capacity) && capacity >= 1 && capacity <= sharedCapacity)) {
    throw new TenonError("invalid", `capacity must be a whole number from 1 to ${sharedCapacity}, not ${capacity}`);
  }
  if (!(Number.isInteger(weight) && weight >= 1 && weight <= capacity)) {
    throw new TenonError("invalid", `weight must be a whole number from 1 to the capacity, ${capacity}, not ${weight}`);
  }
  if (data !== undefined) validText("data", data, 0, capabilities.dataBytesMax);
  return { holder, ttlMs, waitMs, capacity, weight, data };
}

export function validTtl(ttlMs: number, { ttlMsMin, ttlMsMax }: LeaseCapabilities): void {
  if (typeof ttlMs === "number" && ttlMs >= ttlMsMin && ttlMs <= ttlMsMax) return;
  throw new TenonError("invalid", `ttlMs must be a number from ${ttlMsMin} to ${ttlMsMax}, not ${ttlMs}`);
}

/** Text that UTF-8 can give back, within its limits. What it says stays out of the message. */
export function validText(what: string, text: string, bytesMin: number, bytesMax: number): void {
  if (typeof text !== "string") throw new TenonError("invalid", `${what} must be a string, not of type ${typeof text}`);
  const bytes = Buffer.byteLength(text);
  if (bytes < bytesMin || bytes > bytesMax) {
    throw new TenonError("invalid", `${what} has ${bytes} bytes, which is not within ${bytesMin} to ${bytesMax}`);
  }
  if (!text.isWellFormed()) throw new TenonError("invalid", `${what} is not well-formed Unicode; encode it first`);
}
