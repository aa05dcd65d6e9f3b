import type { ScenarioRandom } from "../../../src/simulation/index.ts";

export const topicName = "notes";
export const groups = ["billing", "mail"] as const;

/** How a run of the messaging scenarios is made: everything that the seed draws for the whole of it. */
export interface MessagingSetup {
  readonly partitions: number;
  readonly keys: number;
  readonly whenExpired: "deadLetter" | "drop";
  readonly lossDetection: boolean;
  readonly publishing: {
    /** How many messages are published while faults strike, by all publishers together. */
    readonly count: number;
    readonly underWayMax: number;
    readonly publishTimeoutMs: number;
    readonly bufferBytesMax: number;
    readonly batchCountMax: number;
    /** Of calls whose outcome is unknown, how many are made again although their message has no id. */
    readonly againShare: number;
  };
  readonly consuming: {
    readonly concurrency: number;
    readonly prefetch: number;
    readonly windowMax: number;
    readonly handlerTimeoutMs: number;
    readonly abandonAfterMs: number;
    readonly drainTimeoutMs: number;
    readonly sessionMs: number;
    readonly retry: { readonly attemptsMax: number; readonly delayMs: number; readonly delayMsMax: number };
    readonly batchCountMax: number;
    readonly batchWaitMs: number;
  };
  /** How long a member stays until another takes its place. */
  readonly memberMs: number;
  readonly seeks: number;
  /** Shares of all messages. */
  readonly mix: {
    readonly keyless: number;
    readonly delayed: number;
    readonly withId: number;
    readonly expiring: number;
    readonly failing: number;
    readonly dead: number;
    readonly hanging: number;
  };
  /** Messages that take the process of their handler with them, every time. */
  readonly killers: number;
  readonly segmentBytes: number;
}

export function drawSetup(random: ScenarioRandom): MessagingSetup {
  const share = (max: number): number => (random.chance(0.3) ? 0 : random.float() * max);
  const around = (min: number, max: number): number => Math.round(min * (max / min) ** random.float());
  return {
    partitions: random.integer(1, 4),
    keys: around(1, 30),
    whenExpired: random.pick(["deadLetter", "drop"]),
    lossDetection: random.chance(0.5),
    publishing: {
      count: around(40, 150),
      underWayMax: around(1, 12),
      publishTimeoutMs: around(100, 10_000),
      bufferBytesMax: random.pick([600, 5_000, 1_000_000]),
      batchCountMax: random.pick([1, 3, 4_096]),
      againShare: random.float(),
    },
    consuming: {
      concurrency: around(1, 32),
      prefetch: around(1, 200),
      windowMax: random.pick([3, 20, 10_000]),
      handlerTimeoutMs: around(200, 5_000),
      abandonAfterMs: around(200, 3_000),
      drainTimeoutMs: around(100, 5_000),
      sessionMs: around(2_000, 10_000),
      retry: { attemptsMax: random.integer(1, 6), delayMs: around(10, 2_000), delayMsMax: around(100, 5_000) },
      batchCountMax: around(2, 20),
      batchWaitMs: random.pick([0, 0, 5, 100]),
    },
    memberMs: around(4_000, 60_000),
    seeks: random.pick([0, 0, 1, 3]),
    mix: {
      keyless: share(0.5),
      delayed: share(0.3),
      withId: share(0.5),
      expiring: share(0.2),
      failing: share(0.4),
      dead: share(0.1),
      hanging: share(0.03),
    },
    killers: random.pick([0, 0, 1]),
    segmentBytes: random.pick([16_384, 65_536, 1_048_576]),
  };
}
