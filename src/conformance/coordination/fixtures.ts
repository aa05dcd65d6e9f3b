import { fail } from "node:assert/strict";
import type { KeyValueEngine, LeaseEngine } from "../../contracts/index.ts";
import type { World } from "../../world/world.ts";
import type { ConformanceCase, RunningEngine } from "../conformance-case.ts";

/** What the coordination block stands on. Without key-values its latches, barriers and guards are skipped. */
export interface CoordinatingEngine {
  readonly leases: LeaseEngine;
  readonly keyValue?: KeyValueEngine | undefined;
  readonly world: World;
  close(): Promise<void>;
}

export type CoordinationSubject = RunningEngine<CoordinatingEngine>;
export type CoordinationCase = ConformanceCase<CoordinatingEngine>;

type Need = (subject: CoordinationSubject) => true | string;

/** Enough for a loaded machine; a case that needs it has failed. */
export const waitMs = 20_000;

/** As short as an engine's granting and renewing can be watched in real time. */
export function shortTtlMs({ leases }: CoordinatingEngine): number {
  return Math.max(leases.capabilities.ttlMsMin, 1_000);
}

export function keyValueOf({ keyValue }: CoordinatingEngine): KeyValueEngine {
  return keyValue ?? fail("the case needs key-values and has not said so");
}

export function counting(engine: CoordinatingEngine): CoordinatingEngine & { readonly keyValue: KeyValueEngine } {
  return {
    ...engine,
    leases: engine.leases,
    world: engine.world,
    keyValue: keyValueOf(engine),
    close: () => engine.close(),
  };
}

export const needsFifo: Need = ({ engine }) =>
  engine.leases.capabilities.fifo || "the engine declares no order among those who wait";

export const needsCounted: Need = ({ engine }) =>
  engine.leases.capabilities.counted || "the engine declares that it cannot count";

export const needsKeyValue: Need = ({ engine }) => {
  if (engine.keyValue === undefined) return "the engine carries no key-values";
  const { multipleKeys, watch } = engine.keyValue.capabilities;
  return (multipleKeys && watch) || "the engine's key-values declare no commits of several keys, or no watch";
};

export const needsCrash: Need = (subject) =>
  subject.crash !== undefined || "the host cannot crash this engine, or nothing of it would survive";

export function needsAll(...needs: readonly Need[]): Need {
  return (subject) => {
    for (const need of needs) {
      const answer = need(subject);
      if (answer !== true) return answer;
    }
    return true;
  };
}
