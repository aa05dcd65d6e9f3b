import type { Scenario } from "./harness.ts";
import type { PeerOptions, PeerSpecification } from "./peer.ts";
import type { RequiredRatio } from "./requirements.ts";

export const LIMITER_TYPES = ["fixedWindow", "slidingWindow", "slidingLog", "leakyBucket", "tokenBucket"] as const;
const FLEXIBLE = "rate-limiter-flexible";

interface Load {
  readonly name: string;
  readonly keys: number;
  readonly inFlight: number;
  /** One caller alone waits for the network and two processes' wake-ups, whatever the limiter: there is nothing to require. */
  readonly required: boolean;
}
const LOADS: readonly Load[] = [
  { name: "decisions on Redis, 1 at a time", keys: 1, inFlight: 1, required: false },
  { name: "decisions on Redis, 1 key, 64 in flight", keys: 1, inFlight: 64, required: true },
  { name: "decisions on Redis, 10,000 keys, 64 in flight", keys: 10_000, inFlight: 64, required: true },
];

const own = (type: (typeof LIMITER_TYPES)[number]) => `tenon ${type}`;

/** Limiters on one server; `at` names a contestant on it. */
export function limiterContestants(at: (peer: string) => string, options: PeerOptions): readonly PeerSpecification[] {
  return [
    { name: at(FLEXIBLE), module: "rate-limiter-flexible", options },
    ...LIMITER_TYPES.map((limiter) => {
      return { name: at(own(limiter)), module: "tenon-limiter", options: { ...options, limiter } };
    }),
  ];
}

export function limiterScenarios(
  places: readonly ((peer: string) => string)[],
  durationMs: number,
): readonly Scenario[] {
  const peers = places.flatMap((at) => [at(FLEXIBLE), ...LIMITER_TYPES.map((type) => at(own(type)))]);
  return LOADS.map(({ name, keys, inFlight }) => {
    return { name, call: { method: "decide", keys, inFlight, durationMs }, peers };
  });
}

/** Its limiter is a fixed window: no other type may be slower either. */
export function limiterRequirements(at: (peer: string) => string): readonly RequiredRatio[] {
  return LOADS.filter(({ required }) => required).flatMap(({ name }) =>
    LIMITER_TYPES.map((type) => ({ scenario: name, ours: at(own(type)), theirs: at(FLEXIBLE), atLeast: 1 })),
  );
}
