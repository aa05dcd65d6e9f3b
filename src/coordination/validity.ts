import type { LeaseInstant } from "../contracts/leases.ts";
import type { Clock } from "../world/index.ts";

/**
 * How long ago it was, by whichever clock has gone further: monotonic time stands still while a machine sleeps, and wall time may be set
 * back. A wall clock that is set forward ends leases early, which is safe.
 */
export function elapsedMs({ monotonic, wall }: LeaseInstant, clock: Clock): number {
  return Math.max(clock.monotonic() - monotonic, clock.now() - wall);
}
