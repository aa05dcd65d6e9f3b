import assert from "node:assert/strict";
import { test } from "node:test";
import { contentOf, type EngineContent, messageOf } from "../../../test/durability/content.ts";
import { History, keyValueChange, type NamedChange } from "../../../test/durability/history.ts";
import { below } from "../../../test/durability/reports.ts";
import { TenonError } from "../../contracts/errors.ts";
import { type Simulation, simulatedWorld } from "../../simulation/index.ts";
import type { JournaledEngine } from "./embedded-engine.ts";
import { directory, laneOf, opened } from "./fixtures.test.ts";

const runs = Number(process.env.TENON_FUZZ_RUNS ?? (process.env.TENON_SLOW === "1" ? 3_000 : 150));
const firstSeed = Number(process.env.TENON_FUZZ_SEED ?? 1);
const eventsMax = 100_000;

type Files = Map<string, Buffer>;

interface Sample {
  readonly files: Files;
  /** The calls that made it, in the order of the journal. */
  readonly history: () => History;
}

/** An engine's directory with several sealed segments, and the calls that made it. */
async function sample(seed: number, closes: boolean): Promise<Sample> {
  const simulation = simulatedWorld({ seed, eventsMax });
  const calls: Parameters<History["begin"]>[0][] = [];
  const files: Files = new Map();
  await simulation.run(async () => {
    const engine = await opened(simulation);
    const groups = ["billing"];
    calls.push({ type: "declare", topic: "orders", partitions: 1, groups });
    await engine.messages.declare("orders", { partitions: 1, groups });
    await engine.log.declare("clicks", { partitions: 1 });
    for (let round = 0; round < 12; round++) {
      const names = Array.from({ length: 5 }, (_, index) => `m${round * 5 + index}/${(round * 150) % 700}`);
      calls.push({ type: "append", append: { topic: "orders", partition: 0, names } });
      const messages = names.map((name) => messageOf(name, round === 4 ? { id: `id of ${name}` } : {}));
      await engine.messages.append({ topic: "orders", partition: 0, messages });
      const value = `value ${round} `.repeat(1 + 200 * (round % 2));
      const changes: NamedChange[] = [
        { type: "put", key: `key ${round % 4}`, value },
        { type: "add", key: "sum", by: round },
        { type: "delete", key: `key ${(round + 2) % 4}` },
      ];
      await engine.log.append({
        log: "clicks",
        partition: 0,
        records: [0, 1].map((index) => clickOf(round * 2 + index)),
      });
      calls.push({ type: "commit", changes });
      await engine.keyValue.commit(changes.map(keyValueChange));
    }
    const { lane, member } = await laneOf(engine);
    const stored = await lane.fetch(20);
    const settled = stored.filter((_, index) => index % 4 !== 1);
    const settledNames = settled.map(({ body }) => Buffer.from(body).toString("latin1").split("\n")[0]!);
    const lane0 = { topic: "orders", group: "billing", partition: 0 };
    calls.push({ type: "settle", ...lane0, settled: settledNames, held: [], appends: [] });
    await lane.commit({ settled: settled.map(({ position }) => position) });
    await member.leave();
    if (closes) await engine.close();
    for (const name of await simulation.world.disk.list(directory)) {
      if (name.endsWith(".journal")) files.set(name, Buffer.from(simulation.disk.readFile(`${directory}/${name}`)));
    }
  });
  const history = () => {
    const whole = new History();
    for (const operation of calls) whole.begin(operation);
    return whole;
  };
  return { files, history };
}

function clickOf(number: number): { readonly body: Buffer; readonly key: string } {
  return { body: Buffer.from(`click ${number} `.padEnd(100 + 20 * number, ".")), key: `key ${number % 3}` };
}

/** What a log holds is what was appended to it first, record by record. */
async function examineLog({ log }: JournaledEngine): Promise<void> {
  if (!(await log.logs()).includes("clicks")) return;
  let from = 0n;
  for (let number = 0; ; ) {
    const page = await log.read({ log: "clicks", partition: 0, from, limit: 5 });
    if (page.records.length === 0) return;
    for (const { position, key, body } of page.records) {
      const expected = clickOf(number);
      assert.equal(position, BigInt(number));
      assert.equal(key, expected.key);
      assert.ok(expected.body.equals(body), `record ${number} is not what was written`);
      number += 1;
    }
    from = page.next;
  }
}

type Random = ReturnType<typeof below>;

const harms: readonly ((files: Files, name: string, random: Random) => void)[] = [
  function flippedBits(files, name, random) {
    const bytes = files.get(name)!;
    for (let count = random(4); count >= 0; count--) {
      const at = random(bytes.length);
      bytes[at] = bytes[at]! ^ (1 << random(8));
    }
  },
  function truncated(files, name, random) {
    files.set(name, files.get(name)!.subarray(0, random(files.get(name)!.length)));
  },
  function exchanged(files, name, random) {
    const other = [...files.keys()][random(files.size)]!;
    const bytes = files.get(name)!;
    files.set(name, files.get(other)!);
    files.set(other, bytes);
  },
  function missing(files, name) {
    files.delete(name);
  },
  function overwritten(files, name, random) {
    const bytes = files.get(name)!;
    const from = random(bytes.length);
    for (let at = from; at < Math.min(bytes.length, from + random(600)); at++) bytes[at] = random(256);
  },
  function zeroed(files, name, random) {
    const bytes = files.get(name)!;
    bytes.fill(0, random(bytes.length));
  },
  function copiedWithin(files, name, random) {
    const bytes = files.get(name)!;
    bytes.copyWithin(random(bytes.length), random(bytes.length), random(bytes.length));
  },
  function strangers(files, _name, random) {
    files.set(["notes.txt", "zz.journal", "owner.db-wal"][random(3)]!, Buffer.alloc(100, 7));
  },
];

function assertNamed(error: unknown): void {
  if (!(error instanceof TenonError && error.code === "corrupt")) throw error;
  const { file, offset } = error.fields;
  assert.match(String(file), /^\/data\/engine\/[0-9a-f]{16}\.journal$/);
  assert.ok(typeof offset === "number" && offset >= 0, `no position: ${error.message}`);
}

/** Opens and reads everything; every body, key, header and value is compared with what was written. */
async function examine(simulation: Simulation, history: History): Promise<"corrupt" | "cut or whole"> {
  let content: EngineContent;
  try {
    const engine = await opened(simulation);
    content = await contentOf(engine, new Map(), history.wasDelayed);
    await examineLog(engine);
    await engine.close();
  } catch (error) {
    if (error instanceof assert.AssertionError) throw error;
    assertNamed(error);
    return "corrupt";
  }
  history.reconcile(content);
  return "cut or whole";
}

test(`${runs} harmed directories are refused by name, or hold what some first calls made`, async () => {
  const samples = [await sample(1, true), await sample(2, false)];
  const seen = { corrupt: 0, "cut or whole": 0 };
  for (let seed = firstSeed; seed < firstSeed + runs; seed++) {
    const random = below(seed);
    const { files: originals, history } = samples[random(samples.length)]!;
    assert.ok(originals.size > 4, "the sample has too few segments");
    const files: Files = new Map([...originals].map(([name, bytes]) => [name, Buffer.from(bytes)]));
    const names = [...files.keys()];
    const name = random(3) === 0 ? names.at(-1)! : names[random(names.length)]!;
    const harm = harms[random(harms.length)]!;
    harm(files, name, random);
    const simulation = simulatedWorld({ seed, eventsMax });
    for (const [file, bytes] of files) simulation.disk.writeFile(`${directory}/${file}`, bytes);
    try {
      seen[await simulation.run(() => examine(simulation, history()))] += 1;
    } catch (error) {
      throw new Error(`TENON_FUZZ_SEED=${seed} TENON_FUZZ_RUNS=1 shows it: ${harm.name} in ${name}`, { cause: error });
    }
  }
  if (runs >= 100) assert.ok(seen.corrupt > 0 && seen["cut or whole"] > 0, JSON.stringify(seen));
});
