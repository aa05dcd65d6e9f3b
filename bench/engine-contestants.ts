import type { EngineName } from "../scripts/engines/addresses.ts";
import type { Scenario } from "./harness.ts";
import type { PeerSpecification, ServerShare, Survives } from "./peer.ts";
import type { RequiredRatio } from "./requirements.ts";

/** What is measured on one server. */
export interface EngineBenchmark {
  /** As `npm run engines` calls it; each scenario's name begins so. */
  readonly name: EngineName;
  readonly type: ServerShare["type"];
  readonly survives: Survives;
  /** Where its bare client does less than Tenon does. */
  readonly note: string;
  readonly messages?: Messages | undefined;
  /** The module of the bare client of locks. */
  readonly locks?: string | undefined;
}

interface Messages {
  /** Modules of the bare client, for publishing and consuming, and for measuring how long messages take. */
  readonly bare: string;
  readonly bareLatency: string;
  /** How many messages are consumed in one measurement: about a second's work. */
  readonly backlog: number;
  /** How many times each round of that is measured; once when left out. */
  readonly consumedTimes?: number | undefined;
}

const messages = (bare: string, backlog: number): Messages => ({ bare, bareLatency: bare, backlog });

export const ENGINE_BENCHMARKS: readonly EngineBenchmark[] = [
  {
    name: "postgres",
    type: "postgres",
    survives: "machine",
    note: "multi-row INSERT; SELECT … FOR UPDATE SKIP LOCKED, DELETE, COMMIT, told by NOTIFY. It keeps no order of keys, knows no groups, refuses no duplicates. Of the locks, the contended one is a row's lock, which ends with its session and by no time.",
    messages: messages("bare-postgres", 60_000),
    locks: "bare-postgres-locks",
  },
  {
    name: "mariadb",
    type: "mysql",
    survives: "machine",
    note: "multi-row INSERT; SELECT … FOR UPDATE SKIP LOCKED, DELETE, COMMIT, looking again every 2 ms. It keeps no order of keys, knows no groups, refuses no duplicates.",
    messages: messages("bare-mysql", 60_000),
  },
  {
    name: "redis",
    type: "redis",
    survives: "machine",
    note: "publishing and consuming: the engine's own scripts by a bare client, which keeps no order of handlers and repeats nothing; latency: XADD, XREADGROUP and XACK, which keep no order of keys.",
    messages: { bare: "redis-scripts", bareLatency: "redis-streams", backlog: 600_000, consumedTimes: 3 },
  },
  {
    name: "rabbitmq",
    type: "rabbitmq",
    survives: "machine",
    note: "quorum queues with publisher confirms; prefetch of 256, ack of many. It keeps no order of keys across redeliveries, gives no positions, refuses no duplicates, and its acks have no answer.",
    messages: messages("bare-rabbitmq", 20_000),
  },
  {
    name: "nats",
    type: "nats",
    survives: "process",
    note: "JetStream's publish with its answer; a pull consumer with AckPolicy.All and answered acks. It keeps no order of keys across redeliveries, refuses no duplicates.",
    messages: messages("bare-nats", 40_000),
  },
  {
    name: "kafka",
    type: "kafka",
    survives: "machine",
    note: "batches with acks=all; a group of one that commits offsets. It keeps no order of keys across retries, and a failure holds back its partition.",
    messages: messages("bare-kafka", 600_000),
  },
  {
    name: "etcd",
    type: "etcd",
    survives: "machine",
    note: "over the JSON API by hand: a transaction that finds no key and a delete; for contenders etcd's own lock service. One lease for each caller, that lasts, where Tenon's hold is limited each time.",
    locks: "bare-etcd-locks",
  },
  {
    name: "zookeeper",
    type: "zookeeper",
    survives: "machine",
    note: "the recipe with ephemeral sequential nodes, by hand over the protocol. It ends with the session, and not by a time of its own.",
    locks: "bare-zookeeper-locks",
  },
];

const TENON = "tenon";
const TENON_MUTEX = "tenon mutex";
const BARE = "bare client";
const BARE_LATENCY = "bare client, latency";
const BARE_LOCKS = "bare locks";
/** What the peers' names begin with that ours are compared with. */
export const COMPARISON = { floor: "bare", ours: "tenon" } as const;

const IN_FLIGHT = [64, 1_024];
const CONTENDERS = 64;
const RATE_RATIO_MIN = 0.8;
const P99_RATIO_MAX = 1.5;

interface Measured {
  readonly scenario: Scenario;
  readonly required: readonly RequiredRatio[];
}

/** What is measured on this server, and what is required there. */
export function scenariosOf({ name, messages, locks }: EngineBenchmark, quick: boolean): readonly Measured[] {
  return [
    ...(messages === undefined ? [] : messagingScenarios(name, messages, quick)),
    ...(locks === undefined ? [] : lockScenarios(name, quick)),
  ];
}

function messagingScenarios(
  name: string,
  { bare, bareLatency, consumedTimes }: Messages,
  quick: boolean,
): readonly Measured[] {
  const counts = IN_FLIGHT.map((count) => [count, count.toLocaleString("en-US")] as const);
  const latencyPeer = bare === bareLatency ? BARE : BARE_LATENCY;
  return [
    ...counts.map(([inFlight, text]) => {
      const call = { method: "publish", inFlight, durationMs: quick ? 300 : 1_000 } as const;
      const scenario = { name: `${name}: publish, ${text} in flight`, call, peers: [BARE, TENON] };
      return { scenario, required: [...rate(scenario.name, TENON, BARE), ...p99(scenario.name, TENON, BARE)] };
    }),
    ...counts.map(([concurrency, text]) => {
      const call = { method: "consume", concurrency } as const;
      const roundsTimes = quick ? undefined : consumedTimes;
      const scenario = { name: `${name}: consume + settle, ${text} at once`, call, roundsTimes, peers: [BARE, TENON] };
      return { scenario, required: rate(scenario.name, TENON, BARE) };
    }),
    ...counts.map(([inFlight, text]) => {
      const call = { method: "latency", offered: { inFlight }, durationMs: quick ? 300 : 1_000 } as const;
      const scenario = { name: `${name}: publish to handler, ${text} in flight`, call, peers: [latencyPeer, TENON] };
      return { scenario, required: p99(scenario.name, TENON, latencyPeer) };
    }),
  ];
}

function lockScenarios(name: string, quick: boolean): readonly Measured[] {
  const contentions = [
    ["1 caller", { callers: 1, locks: "own" }],
    [`${CONTENDERS} contenders, each in turn`, { callers: CONTENDERS, locks: "shared, in turns" }],
  ] as const;
  return contentions.map(([text, contention]) => {
    // Of a lone caller's locks there are a few hundred a second: the longest seven were what a second and a half said of p99.
    const durationMs = quick ? 300 : contention.callers === 1 ? 5_000 : 1_500;
    const call = { method: "lock", contention, durationMs } as const;
    const scenario = { name: `${name}: locks, ${text}`, call, peers: [BARE_LOCKS, TENON_MUTEX] };
    const sides = [scenario.name, TENON_MUTEX, BARE_LOCKS] as const;
    return { scenario, required: [...rate(...sides), ...p99(...sides)] };
  });
}

function rate(scenario: string, ours: string, theirs: string): readonly RequiredRatio[] {
  return [{ scenario, ours, theirs, atLeast: RATE_RATIO_MIN }];
}

function p99(scenario: string, ours: string, theirs: string): readonly RequiredRatio[] {
  return [{ scenario: `${scenario}, p99`, ours, theirs, atMost: P99_RATIO_MAX }];
}

/** Those that can take part on this server. Each has names of its own there. */
export function contestantsOf(
  { type, survives, messages, locks }: EngineBenchmark,
  place: { readonly url: string; readonly directory: string; readonly prefix: string; readonly quick: boolean },
): readonly PeerSpecification[] {
  const { url, directory, quick } = place;
  const backlog = (messages?.backlog ?? 0) / (quick ? 10 : 1);
  const port = Number(new URL(url).port);
  const peer = (name: string, module: string, mark: string): PeerSpecification => {
    const server = { type, url, prefix: `${place.prefix}${mark}` };
    return { name, module, options: { directory, survives, port, server, timed: true, backlog } };
  };
  const contestants: PeerSpecification[] = [];
  if (messages !== undefined) {
    const { bare, bareLatency } = messages;
    contestants.push(peer(BARE, bare, "b"), peer(TENON, "tenon-server", "t"));
    if (bareLatency !== bare) contestants.push(peer(BARE_LATENCY, bareLatency, "l"));
  }
  if (locks !== undefined) contestants.push(peer(BARE_LOCKS, locks, "k"), peer(TENON_MUTEX, "tenon-server-locks", "m"));
  return contestants;
}
