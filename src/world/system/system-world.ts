import type { Logger, World } from "../world.ts";
import { SystemClock } from "./clock.ts";
import { SystemDisk } from "./disk.ts";
import { SystemNetwork } from "./network.ts";
import { SystemRandom } from "./random.ts";
import { SystemTimers } from "./timers.ts";

export interface SystemWorldOptions {
  /** Where log lines go; nowhere when left out. */
  readonly log?: Logger | undefined;
}

/** The real clock, timers, randomness, disk and network of this process. */
export function systemWorld(options: SystemWorldOptions = {}): World {
  return {
    clock: new SystemClock(),
    timers: new SystemTimers(),
    random: new SystemRandom(),
    disk: new SystemDisk(),
    network: new SystemNetwork(),
    log: options.log ?? { log: () => {} },
  };
}
