/** What the scenarios of key-values, leases and limiters share: a machine with an embedded engine that others reach over the network. */
import { TenonError } from "../../src/contracts/errors.ts";
import { embedded } from "../../src/engines/embedded/index.ts";
import { type RemoteEngine, remote, type ServedEngine, serve } from "../../src/engines/remote/index.ts";
import {
  ClockRecord,
  type ProcessContext,
  type ProcessHandle,
  type SimulatedSystem,
} from "../../src/simulation/index.ts";
import type { World } from "../../src/world/world.ts";

const onlyHost = "engine";
const port = 4_000;

export interface Served {
  readonly handle: ProcessHandle;
  /** What its wall clock showed. */
  readonly clock: ClockRecord;
}

/**
 * The engine's own process, which has the name of its host. It dies with its engine, and comes back over what its disk kept. `seen` may look at what is asked
 * of it.
 */
export function serveEngine(
  system: SimulatedSystem,
  seen: (engine: ServedEngine) => ServedEngine = (engine) => engine,
  host = onlyHost,
): Served {
  const segmentBytes = system.random.pick([16_384, 65_536, 1_048_576]);
  const durable = { directory: "/data", segmentBytes, reserveBytes: 0 };
  let corrupt: unknown;
  const main = async ({ world }: ProcessContext): Promise<void> => {
    const engine = await embedded({ ...durable, world }).catch((error: unknown) => {
      if (error instanceof TenonError && error.code === "corrupt") corrupt = error;
      throw error;
    });
    await serve(seen(engine), { host, port, world });
    await aborted(engine.ended);
    throw engine.ended.reason;
  };
  const handle = system.process(host, main, { whenMainFails: "restart" });
  system.always("what an engine has stored can be read again", () => {
    if (corrupt !== undefined) throw corrupt;
  });
  return { handle, clock: clockOf(system, handle) };
}

/** The engine, as another process reaches it; tried until it is there. */
export async function connected(world: World, settings: RemoteSettings, host = onlyHost): Promise<RemoteEngine> {
  for (;;) {
    try {
      return await remote({ host, port }, { world, ...settings });
    } catch (error) {
      if (!isOutage(error)) throw error;
      await world.timers.sleep(100);
    }
  }
}

export interface RemoteSettings {
  readonly requestTimeoutMs: number;
  readonly heartbeatMs: number;
}

export function drawRemote({ random }: SimulatedSystem): RemoteSettings {
  return { requestTimeoutMs: random.pick([500, 2_000, 5_000]), heartbeatMs: random.pick([500, 2_000]) };
}

/** Reads the machine's clock after every event. */
export function clockOf(system: SimulatedSystem, handle: ProcessHandle): ClockRecord {
  const record = new ClockRecord(0.05);
  const { clock } = handle;
  void system.until("the end of the run", () => {
    record.read(system.nowMs, clock.now, handle.state !== "paused");
    return false;
  });
  return record;
}

/** What may become of a request while faults strike; everything else is a finding. */
export function isOutage(error: unknown): boolean {
  return error instanceof TenonError && ["unavailable", "timeout", "overloaded", "closed"].includes(error.code);
}

/** Does it; answers whether it was done, for the engine may be out of reach, or say that it cannot now. */
export async function unlessOutage(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (!isOutage(error)) throw error;
    return false;
  }
}

export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve());
  });
}
