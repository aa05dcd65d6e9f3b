import { ambientWorld } from "../ambient.ts";
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

/** The real clock, timers, randomness, disk and network of this process; inside a simulated process that process' world. */
export function systemWorld(options: SystemWorldOptions = {}): World {
  const ambient = ambientWorld();
  if (ambient !== undefined) return options.log === undefined ? ambient : { ...ambient, log: options.log };
  return {
    clock: new SystemClock(),
    timers: new SystemTimers(),
    random: new SystemRandom(),
    disk: new SystemDisk(),
    network: new SystemNetwork(),
    log: options.log ?? { log: () => {} },
  };
}
