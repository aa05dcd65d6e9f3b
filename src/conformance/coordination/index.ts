import { electionCases } from "./elections.ts";
import type { CoordinationCase } from "./fixtures.ts";
import { lockCases } from "./locks.ts";
import { sharingCases } from "./sharing.ts";
import { togetherCases } from "./together.ts";

export type { CoordinatingEngine, CoordinationCase, CoordinationSubject } from "./fixtures.ts";

/** What the coordination block means on every engine with leases. */
export const coordinationCases: readonly CoordinationCase[] = [
  ...lockCases,
  ...sharingCases,
  ...electionCases,
  ...togetherCases,
];
