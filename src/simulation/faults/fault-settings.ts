/** What can befall a run by itself. */
export type FaultKind =
  /** A process and its machine die, and come back. */
  | "crash"
  /** A process alone dies, and comes back. */
  | "kill"
  /** A process stands still, as in a long garbage collection. */
  | "pause"
  /** A machine sleeps: its monotonic time stands still too. */
  | "sleep"
  /** Some hosts cannot reach some others; symmetric, one way, one host alone, or random halves. */
  | "partition"
  /** A connection breaks. */
  | "cut"
  /** One side of a connection does not know that it broke. */
  | "half-open"
  /** Everything takes long for a while. */
  | "slow-network"
  /** A wall clock jumps, forward or back. */
  | "clock-step"
  /** A machine's clocks gain or lose from now on. */
  | "clock-drift"
  /** One disk operation fails. */
  | "disk-error"
  /** All disk operations fail for a while. */
  | "disk-outage"
  /** The disk is full for a while. */
  | "disk-full";

export const faultKinds: readonly FaultKind[] = [
  "crash",
  "kill",
  "pause",
  "sleep",
  "partition",
  "cut",
  "half-open",
  "slow-network",
  "clock-step",
  "clock-drift",
  "disk-error",
  "disk-outage",
  "disk-full",
];

/** How often each kind strikes on average, per virtual minute; a kind that is left out never does. */
export interface FaultSettings {
  readonly perMinute: Partial<Readonly<Record<FaultKind, number>>>;
  /** How long a crashed process stays dead. */
  readonly downMs?: Span | undefined;
  readonly pauseMs?: Span | undefined;
  readonly partitionMs?: Span | undefined;
  readonly slowMs?: Span | undefined;
  readonly outageMs?: Span | undefined;
  /** How far a wall clock jumps, in either direction. */
  readonly clockStepMs?: Span | undefined;
  /** How much clocks gain or lose, as a share: 0.01 is 1 %. */
  readonly clockDrift?: Span | undefined;
}

/** Drawn between the two, small values as often as large ones of each order of magnitude. */
export interface Span {
  readonly min: number;
  readonly max: number;
}

/** `"swarm"` may be narrowed to some kinds: others are never drawn. */
export type FaultChoice =
  | "lite"
  | "performance"
  | "swarm"
  | { readonly swarm: readonly FaultKind[]; readonly settings?: Omit<FaultSettings, "perMinute"> | undefined }
  | FaultSettings;

/** A fault as it was planned: what it strikes is decided when it does, by `target`. */
export interface PlannedStrike {
  /** Counts the plan's faults from 0; the same for the same seed, whichever others are left out. */
  readonly number: number;
  readonly atMs: number;
  readonly kind: FaultKind;
  /** In [0, 1): which of those that it could strike. */
  readonly target: number;
  /** In [0, 1): how. */
  readonly manner: number;
  /** How long it lasts, or how far it goes. */
  readonly measure: number;
}

export interface StruckFault {
  readonly number: number;
  readonly atMs: number;
  readonly kind: FaultKind;
  /** What it did, such as `kills stock-2 for 1200 ms`. */
  readonly text: string;
}
