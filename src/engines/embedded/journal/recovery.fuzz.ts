/**
 * Opens journals whose files were harmed at random. Whatever the harm: either `corrupt`, naming a file and a position, or an opened
 * journal that has a prefix of what was written; never another exception, never a wrong record.
 * `TENON_FUZZ_RUNS` sets how many (400 when left out), `TENON_FUZZ_SEED` where to begin; a failure names its seed.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "node:zlib";
import { openLedger, payloadOf, SMALL } from "../../../../test/journal-ledger.ts";
import { TenonError } from "../../../contracts/errors.ts";
import { type Simulation, simulatedWorld } from "../../../simulation/index.ts";
import { BATCH_HEADER_BYTES, findBatchMagic, segmentFileName, TRAILER_BYTES } from "./format.ts";

const RUNS = Number(process.env.TENON_FUZZ_RUNS ?? 400);
const FIRST_SEED = Number(process.env.TENON_FUZZ_SEED ?? 1);
const DIRECTORY = "/data/journal";

/** A small generator of its own, so that a seed means the same harm everywhere. */
function generator(seed: number): (below: number) => number {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state >>>= 0;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

type Files = Map<string, Buffer>;

/** The files of journals of several shapes: one segment or many, closed or crashed, with dropped segments or without. */
async function samples(): Promise<readonly { readonly files: Files; readonly lastId: number }[]> {
  const shapes = [
    { count: 12, closed: false, drop: 0, options: { segmentBytes: 64 * 1024 } },
    { count: 12, closed: true, drop: 0, options: { segmentBytes: 64 * 1024, durability: "async" as const } },
    { count: 60, closed: true, drop: 0, options: { segmentBytes: 8192 } },
    { count: 60, closed: false, drop: 2, options: { segmentBytes: 4096 } },
  ];
  return Promise.all(shapes.map(sample));
}

async function sample(shape: {
  readonly count: number;
  readonly closed: boolean;
  readonly drop: number;
  readonly options: { readonly segmentBytes: number; readonly durability?: "async" };
}): Promise<{ readonly files: Files; readonly lastId: number }> {
  const simulated = simulatedWorld({ seed: shape.count });
  return simulated.run(async () => {
    const { ledger, journal } = await openLedger(simulated.world, shape.options);
    for (let id = 0; id < shape.count; id++) {
      ledger.add(journal);
      if (id % 3 !== 0) await journal.durable();
    }
    await journal.durable();
    for (let count = 0; count < shape.drop; count++) await journal.dropOldest();
    if (shape.closed) await journal.close();
    const files: Files = new Map();
    for (const name of await simulated.world.disk.list(DIRECTORY)) {
      files.set(name, Buffer.from(simulated.disk.readFile(`${DIRECTORY}/${name}`)));
    }
    return { files, lastId: ledger.lastId };
  });
}

type Random = (below: number) => number;

const HARMS: readonly ((files: Files, name: string, random: Random) => void)[] = [
  function flippedBits(files, name, random) {
    const bytes = files.get(name)!;
    for (let count = random(3); count >= 0 && bytes.length > 0; count--) {
      const byte = random(bytes.length);
      bytes[byte] = bytes[byte]! ^ (1 << random(8));
    }
  },
  function overwritten(files, name, random) {
    const bytes = files.get(name)!;
    const from = random(bytes.length + 1);
    for (let at = from; at < Math.min(bytes.length, from + random(700)); at++) bytes[at] = random(256);
  },
  function truncated(files, name, random) {
    files.set(name, files.get(name)!.subarray(0, random(files.get(name)!.length + 1)));
  },
  function lengthened(files, name, random) {
    const more = Buffer.from(Array.from({ length: random(600) }, () => random(256)));
    files.set(name, Buffer.concat([files.get(name)!, more]));
  },
  function replaced(files, name, random) {
    files.set(name, Buffer.from(Array.from({ length: random(3000) }, () => random(256))));
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
  function movedWithin(files, name, random) {
    const bytes = files.get(name)!;
    const length = random(1000);
    bytes.copyWithin(random(bytes.length + 1), random(bytes.length + 1), length);
  },
  /** A header that says something else and is valid all the same. */
  function forgedHeader(files, name, random) {
    const bytes = files.get(name)!;
    const at = findBatchMagic(bytes, random(bytes.length + 1));
    if (at < 0 || at + BATCH_HEADER_BYTES > bytes.length) return;
    const field = [24, 28, 32, 36, 40, 44][random(6)]!;
    bytes.writeUInt32LE([0, 1, 56, 2 ** 32 - 1, random(2 ** 32), random(10_000)][random(6)]!, at + field);
    bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 52)), at + 52);
  },
  function forgedTrailer(files, name, random) {
    const bytes = files.get(name)!;
    const at = bytes.length - TRAILER_BYTES;
    if (at < 0) return;
    bytes.writeUInt32LE([0, 2 ** 32 - 1, random(2 ** 32), random(bytes.length)][random(4)]!, at + 4 * (1 + random(6)));
    bytes.writeUInt32LE(crc32(bytes.subarray(at, at + 36)), at + 36);
  },
];

function assertNamed(error: unknown): void {
  if (!(error instanceof TenonError && error.code === "corrupt")) throw error;
  const { file, offset } = error.fields;
  assert.match(String(file), /^\/data\/journal\/[0-9a-f]{16}\.journal$/);
  assert.ok(typeof offset === "number" && offset >= 0);
  assert.ok(error.message.includes(String(file)) && error.message.includes(String(offset)));
}

/** Opens, reads everything, goes on, and opens again. The ledger itself notices any wrong or missing record. */
async function examine(simulated: Simulation, lastId: number): Promise<"corrupt" | "cut" | "whole"> {
  return simulated.run(async () => {
    let opened: Awaited<ReturnType<typeof openLedger>>;
    try {
      opened = await openLedger(simulated.world, SMALL);
    } catch (error) {
      assertNamed(error);
      return "corrupt";
    }
    const { ledger, journal } = opened;
    const found = ledger.lastId;
    assert.ok(found <= lastId, "more came back than was written");
    for (const { id, position } of ledger.entries) {
      const payload = await Promise.resolve(position)
        .then((at) => journal.read(at))
        .catch(assertNamed);
      if (payload) assert.ok(payload.equals(payloadOf(id, payload.length)), `entry ${id} reads as something else`);
    }
    ledger.add(journal);
    await journal.close();
    const again = await openLedger(simulated.world, SMALL);
    assert.equal(again.ledger.lastId, found + 1);
    await again.journal.close();
    return found === lastId ? "whole" : "cut";
  });
}

test(`${RUNS} harmed journals are refused by name or cut cleanly`, async () => {
  const originals = await samples();
  const seen = { corrupt: 0, cut: 0, whole: 0 };
  for (let seed = FIRST_SEED; seed < FIRST_SEED + RUNS; seed++) {
    const random = generator(seed);
    const original = originals[random(originals.length)]!;
    const files: Files = new Map([...original.files].map(([name, bytes]) => [name, Buffer.from(bytes)]));
    const names = [...files.keys()].filter((name) => name.endsWith(".journal"));
    const name = random(2) === 0 ? names.at(-1)! : names[random(names.length)]!;
    const harm = HARMS[random(HARMS.length)]!;
    harm(files, name, random);
    const simulated = simulatedWorld({ seed });
    for (const [file, bytes] of files) simulated.disk.writeFile(`${DIRECTORY}/${file}`, bytes);
    try {
      seen[await examine(simulated, original.lastId)] += 1;
    } catch (error) {
      throw new Error(`TENON_FUZZ_SEED=${seed} TENON_FUZZ_RUNS=1 shows it: ${harm.name} in ${name}`, { cause: error });
    }
  }
  if (RUNS >= 100) assert.ok(seen.corrupt > 0 && seen.cut > 0 && seen.whole > 0, JSON.stringify(seen));
});

test("a file of random bytes is never taken for a segment", async () => {
  const random = generator(FIRST_SEED);
  for (let run = 0; run < Math.min(RUNS, 100); run++) {
    const simulated = simulatedWorld({ seed: run });
    const bytes = Buffer.from(Array.from({ length: random(2000) }, () => random(256)));
    const name = segmentFileName(1 + random(3));
    simulated.disk.writeFile(`${DIRECTORY}/${name}`, bytes);
    const result = await examine(simulated, 0);
    assert.equal(result, name === segmentFileName(1) ? "whole" : "corrupt");
  }
});
