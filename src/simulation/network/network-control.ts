/** How the network behaves when nothing is broken, and how often small things happen to it. Drawn for every piece of bytes on its way. */
export interface NetworkSettings {
  /** How long bytes travel. */
  readonly latencyMs: { readonly min: number; readonly max: number };
  /** How often they take much longer, and how much. Bytes of one connection never overtake each other. */
  readonly delayChance: number;
  readonly delayMs: { readonly min: number; readonly max: number };
  /** How often what was written at once is read in several parts. What was written apart may always be read together. */
  readonly splitChance: number;
  /** How many bytes can be on their way or unread before writing waits. */
  readonly bufferBytes: number;
  /** How long a connection bears that nothing arrives of what it sent, before its sender hears that it broke. */
  readonly giveUpMs: { readonly min: number; readonly max: number };
  /** How long an attempt to connect bears that nobody answers. */
  readonly connectGiveUpMs: number;
  /**
   * How often the other side of a connection that was destroyed, or whose process was killed, sees its end as if it had been closed in order, as kernels have it when nothing
   * was left unread. Otherwise, and always when this is left out, it sees that the connection broke.
   */
  readonly quietEndChance?: number | undefined;
}

export const calmNetwork: NetworkSettings = {
  latencyMs: { min: 0.1, max: 1 },
  delayChance: 0,
  delayMs: { min: 0, max: 0 },
  splitChance: 0.1,
  bufferBytes: 64 * 1024,
  giveUpMs: { min: 15_000, max: 30_000 },
  connectGiveUpMs: 20_000,
};

export interface ConnectionInfo {
  readonly id: number;
  /** The host that connected, and the one that accepted. */
  readonly from: string;
  readonly to: string;
}

/** The test's hand on the network between simulated machines. Hosts are called as their processes. */
export interface SimulatedNetworkControl {
  settings: NetworkSettings;
  /** Nothing gets from one host to the other any more; the way back is another matter. */
  block(from: string, to: string): void;
  unblock(from: string, to: string): void;
  /** Nothing gets from one group to another, in either direction. Hosts that are in no group reach everybody. */
  partition(groups: readonly (readonly string[])[]): void;
  /** Nothing gets out of the host, into it, or both. */
  isolate(host: string, direction?: "in" | "out" | "both"): void;
  /** Takes every block away. What was on its way goes on. */
  heal(): void;
  /** Those that are open on at least one side, by id. */
  readonly connections: readonly ConnectionInfo[];
  /**
   * `"reset"`: both sides hear that it broke, when the news reaches them. `"half-open"`: the accepting side has forgotten it, and the
   * connecting side hears of that only when it writes.
   */
  cut(connectionId: number, manner: "reset" | "half-open"): void;
}
