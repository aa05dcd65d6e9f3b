import { type MissingPeer, runScenarios, type Scenario } from "./harness.ts";
import type { BenchmarkOptions } from "./options.ts";
import type { PeerSpecification, Survives } from "./peer.ts";
import { environmentOf, print, printMissing, printRows, printVerdicts, writeJson } from "./report.ts";
import { judgeRatio, type RequiredRatio } from "./requirements.ts";
import { Scratch } from "./scratch.ts";
import { type Server, startNats, startRedis } from "./servers.ts";

const IN_FLIGHT = [1, 64, 1_024, 8_192];
const REQUIRED_IN_FLIGHT = 1_024;
const LATENCY_IN_FLIGHT = [1, 64, 1_024];
const LATENCY_PER_SECOND = 1_000;
/** For what nothing is required of: keeps the whole below six minutes. */
const OTHER_ROUNDS_MAX = 3;

const FLOOR = "floor";
const TENON_BYTES = "tenon, bytes";
const TENON_KEYED = "tenon, bytes, with keys";
const TENON_JSON = "tenon, JSON";
const TENON_BYTES_ASYNC = "tenon async, bytes";
const TENON_JSON_MEMORY = "tenon memory(), JSON";
const BULLMQ_ALWAYS = "bullmq, appendfsync always";
const BULLMQ_NONE = "bullmq, unpersisted";
const STREAMS_ALWAYS = "redis streams, appendfsync always";
const STREAMS_NONE = "redis streams, unpersisted";
const JETSTREAM = "jetstream, file, sync as it comes";
const JETSTREAM_ALWAYS = "jetstream, file, sync_interval always";

const CONSUME = "consume + settle";
const publishing = (inFlight: number) => `publish, ${inFlight.toLocaleString("en-US")} in flight`;

/** JetStream as it comes promises less than Tenon does here, so the last of them asks more than an equal comparison would. */
const REQUIRED: readonly RequiredRatio[] = [
  { scenario: publishing(REQUIRED_IN_FLIGHT), ours: TENON_BYTES, theirs: FLOOR, atLeast: 0.5 },
  { scenario: publishing(REQUIRED_IN_FLIGHT), ours: TENON_JSON, theirs: FLOOR, atLeast: 0.3 },
  { scenario: publishing(REQUIRED_IN_FLIGHT), ours: TENON_JSON, theirs: BULLMQ_ALWAYS, atLeast: 10 },
  { scenario: CONSUME, ours: TENON_JSON, theirs: BULLMQ_ALWAYS, atLeast: 10 },
  { scenario: CONSUME, ours: TENON_BYTES, theirs: JETSTREAM, atLeast: 2 },
];

/** Exit code 0 when every required ratio holds that could be measured, else 1. */
export async function messaging({ rounds, quick, jsonPath }: BenchmarkOptions): Promise<number> {
  const scratch = new Scratch();
  const servers: Server[] = [];
  try {
    const missing: MissingPeer[] = [];
    const specifications = [
      ...(await ownPeers(scratch, quick)),
      ...(await foreignPeers(scratch, servers, missing, quick)),
    ];
    const comparison = { floor: FLOOR, ours: "tenon" };
    const scenarios = scenariosFor(specifications, quick);
    const measured = await runScenarios(scenarios, specifications, rounds, (rows) => printRows(rows, comparison));
    const allMissing = [...missing, ...measured.missing];
    printMissing(allMissing);
    const verdicts = REQUIRED.map((required) => judgeRatio(required, measured.rows));
    const holds = printVerdicts(verdicts);
    const environment = await environmentOf(scratch.directory);
    await writeJson("messaging", jsonPath, { environment, rounds, quick, ...measured, missing: allMissing, verdicts });
    // Our own peers need nothing installed: when one of them is missing, something is broken.
    return holds && !measured.missing.some(({ peer }) => peer.startsWith("tenon") || peer === FLOOR) ? 0 : 1;
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
  }
}

async function ownPeers(scratch: Scratch, quick: boolean): Promise<readonly PeerSpecification[]> {
  const own = async (name: string, module: string, survives: Survives, encoding: "bytes" | "json", keyed = false) => {
    const directory = await scratch.make(name);
    return { name, module, options: { directory, survives, encoding, keyed, backlog: quick ? 200_000 : 500_000 } };
  };
  return [
    await own(FLOOR, "floor", "machine", "bytes"),
    await own(TENON_BYTES, "tenon", "machine", "bytes"),
    await own(TENON_KEYED, "tenon", "machine", "bytes", true),
    await own(TENON_JSON, "tenon", "machine", "json"),
    await own(TENON_BYTES_ASYNC, "tenon", "process", "bytes"),
    await own(TENON_JSON_MEMORY, "tenon", "nothing", "json"),
  ];
}

/** Starts the servers that are there; names those that are not. */
async function foreignPeers(
  scratch: Scratch,
  servers: Server[],
  missing: MissingPeer[],
  quick: boolean,
): Promise<readonly PeerSpecification[]> {
  const specifications: PeerSpecification[] = [];
  type Contestant = readonly [name: string, module: string, backlog: number];
  const add = async (start: () => Promise<Server>, survives: Survives, contestants: readonly Contestant[]) => {
    try {
      const server = await start();
      servers.push(server);
      for (const [name, module, backlog] of contestants) {
        const directory = await scratch.make(name);
        const scaled = quick ? backlog / 4 : backlog;
        specifications.push({ name, module, options: { directory, survives, port: server.port, backlog: scaled } });
      }
      print(`started the server of ${contestants.map(([name]) => name).join(" and ")}: version ${server.version}`);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      for (const [peer] of contestants) missing.push({ peer, reason });
    }
  };
  await add(async () => startRedis(await scratch.make("redis always"), "always"), "machine", [
    [BULLMQ_ALWAYS, "bullmq", 20_000],
    [STREAMS_ALWAYS, "redis-streams", 100_000],
  ]);
  await add(async () => startRedis(await scratch.make("redis none"), "none"), "nothing", [
    [BULLMQ_NONE, "bullmq", 20_000],
    [STREAMS_NONE, "redis-streams", 100_000],
  ]);
  await add(async () => startNats(await scratch.make("nats default"), "default"), "process", [
    [JETSTREAM, "jetstream", 40_000],
  ]);
  await add(async () => startNats(await scratch.make("nats always"), "always"), "machine", [
    [JETSTREAM_ALWAYS, "jetstream", 40_000],
  ]);
  return specifications;
}

function scenariosFor(specifications: readonly PeerSpecification[], quick: boolean): readonly Scenario[] {
  const all = specifications.map(({ name }) => name);
  // Keys differ in publishing only: what is consumed has keys in every case.
  const messengers = all.filter((name) => name !== FLOOR && name !== TENON_KEYED);
  const latencyMs = quick ? 250 : 500;
  return [
    ...IN_FLIGHT.map((inFlight): Scenario => {
      const required = inFlight === REQUIRED_IN_FLIGHT;
      const durationMs = quick ? 300 : required ? 1_000 : 500;
      const roundsMax = required ? undefined : OTHER_ROUNDS_MAX;
      return { name: publishing(inFlight), call: { method: "publish", inFlight, durationMs }, roundsMax, peers: all };
    }),
    { name: CONSUME, call: { method: "consume" }, peers: messengers },
    {
      name: `latency at ${LATENCY_PER_SECOND.toLocaleString("en-US")} messages per second`,
      call: { method: "latency", offered: { perSecond: LATENCY_PER_SECOND }, durationMs: latencyMs },
      roundsMax: OTHER_ROUNDS_MAX,
      peers: messengers,
    },
    ...LATENCY_IN_FLIGHT.map(
      (inFlight): Scenario => ({
        name: `latency with ${inFlight.toLocaleString("en-US")} in flight`,
        call: { method: "latency", offered: { inFlight }, durationMs: latencyMs },
        roundsMax: OTHER_ROUNDS_MAX,
        peers: messengers,
      }),
    ),
  ];
}
