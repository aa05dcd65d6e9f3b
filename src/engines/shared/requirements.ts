/** What a confirmed change may survive; each level holds what those before it do. */
export const survivalLevels = ["nothing", "process", "machine", "replicas"] as const;

export type Survives = (typeof survivalLevels)[number];

/** Something of the server that the engine's promises rest on. */
export interface Requirement {
  /** As the server names it. */
  readonly setting: string;
  readonly value: string;
  /** Whether it is as it should be. */
  readonly ok: boolean;
  /** What follows from it, and what to do where it is not as it should be. */
  readonly meaning: string;
}

/** What the server's settings come to. */
export interface ServerState {
  readonly requirements: readonly Requirement[];
  readonly survives: Survives;
}
