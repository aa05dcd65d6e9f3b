import { TenonError } from "../contracts/errors.ts";
import { checkInstant } from "../contracts/instants.ts";
import type { Delivery } from "./delivery.ts";
import { expiresAtHeader } from "./headers.ts";

/** Until when a message is worth delivering. At most one of the two. */
export interface Expiry {
  /** Not delivered at this instant or later, ms since the epoch. */
  readonly expiresAt?: number | undefined;
  /** Not delivered when so many milliseconds have passed from now on. */
  readonly ttlMs?: number | undefined;
}

/** The instant that is stored with the message. Throws `invalid` for what is none, and for one at which the message is not even due. */
export function expiresAtOf(
  topic: string,
  { expiresAt, ttlMs }: Expiry,
  dueAt: number | undefined,
  now: number,
): number | undefined {
  if (expiresAt === undefined && ttlMs === undefined) return undefined;
  if (expiresAt !== undefined && ttlMs !== undefined) {
    throw new TenonError("invalid", `A message for topic "${topic}" has both expiresAt and ttlMs; give one of them.`);
  }
  if (ttlMs !== undefined && !(Number.isFinite(ttlMs) && ttlMs > 0)) {
    throw new TenonError("invalid", `ttlMs is ${ttlMs}; it must be a number of milliseconds greater than 0.`);
  }
  if (expiresAt !== undefined) checkInstant("expiresAt", topic, expiresAt);
  const end = Math.ceil(expiresAt ?? now + (ttlMs as number));
  if (!Number.isSafeInteger(end) || end < 0) {
    throw new TenonError(
      "invalid",
      `The instant ${end} at which a message for topic "${topic}" expires is no time in ms.`,
    );
  }
  if (dueAt === undefined || end > dueAt) return end;
  throw new TenonError(
    "invalid",
    `A message for topic "${topic}" would expire at ${end}, before it is due at ${dueAt}; it would never be delivered.`,
    { fields: { topic, expiresAt: end, dueAt } },
  );
}

/** By the consumer's reading of the engine's clock. Messages without headers, the common case, cost a comparison. */
export function isExpired({ stored, owner }: Delivery): boolean {
  const expiresAt = stored.headers?.[expiresAtHeader];
  return expiresAt !== undefined && Number(expiresAt) <= owner.world.clock.now();
}
