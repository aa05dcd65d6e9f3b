import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { simulatedWorld } from "../simulation/index.ts";
import { memoryDisk, systemWorld } from "./index.ts";
import { type Disk, DiskError, type DiskFailure } from "./world.ts";

type Case = (disk: Disk, directory: string) => Promise<void>;

/** Every disk keeps the same promises. */
const HOSTS: Readonly<Record<string, (context: TestContext, body: Case) => Promise<void>>> = {
  system: async (context, body) => {
    const directory = mkdtempSync(join(tmpdir(), "tenon-disk-"));
    context.after(() => rmSync(directory, { recursive: true }));
    await body(systemWorld().disk, directory);
  },
  memory: async (_context, body) => {
    const disk = memoryDisk();
    await disk.makeDirectory("/data");
    await body(disk, "/data");
  },
  simulated: async (_context, body) => {
    const simulation = simulatedWorld({ seed: 1 });
    await simulation.run(async () => {
      await simulation.world.disk.makeDirectory("/data");
      await body(simulation.world.disk, "/data");
    });
  },
};

function everywhere(behaviour: string, body: Case): void {
  for (const [name, host] of Object.entries(HOSTS))
    test(`${name} disk: ${behaviour}`, (context) => host(context, body));
}

const bytes = (text: string) => Buffer.from(text);

async function content(disk: Disk, path: string): Promise<string> {
  const file = await disk.open(path, "read");
  const into = new Uint8Array(file.sizeBytes);
  assert.equal(await file.read(0, into), file.sizeBytes);
  await file.close();
  return Buffer.from(into).toString();
}

async function write(disk: Disk, path: string, text: string): Promise<void> {
  const file = await disk.open(path, "create");
  await file.append(bytes(text));
  await file.close();
}

function fails(failure: DiskFailure, path: string): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof DiskError, String(error));
    assert.equal(error.failure, failure);
    assert.equal(error.path, path);
    return true;
  };
}

everywhere("what was appended is read back, from any position", async (disk, directory) => {
  const path = `${directory}/a`;
  const file = await disk.open(path, "create");
  await file.append(bytes("one "));
  await file.append(bytes("two"));
  assert.equal(file.sizeBytes, 7);
  const into = new Uint8Array(10);
  assert.equal(await file.read(4, into), 3);
  assert.equal(Buffer.from(into.subarray(0, 3)).toString(), "two");
  assert.equal(await file.read(7, into), 0);
  assert.equal(await file.read(100, into), 0);
  await file.sync();
  await file.close();
  assert.equal(await content(disk, path), "one two");
});

everywhere("large appends keep every byte in place", async (disk, directory) => {
  const path = `${directory}/large`;
  const file = await disk.open(path, "create");
  const parts = [700_001, 3, 262_144, 1, 500_000].map((size, seed) =>
    Buffer.alloc(size).map((_, index) => (index * 31 + seed * 7 + (index >> 8)) & 0xff),
  );
  for (const part of parts) await file.append(part);
  const whole = Buffer.concat(parts);
  const into = new Uint8Array(whole.byteLength);
  assert.equal(await file.read(0, into), whole.byteLength);
  assert.ok(whole.equals(into));
  const middle = new Uint8Array(300_000);
  assert.equal(await file.read(600_000, middle), 300_000);
  assert.ok(whole.subarray(600_000, 900_000).equals(middle));
  await file.close();
});

everywhere("truncating shortens, and the next append goes on there", async (disk, directory) => {
  const path = `${directory}/a`;
  const file = await disk.open(path, "create");
  await file.append(bytes("one two"));
  await file.truncate(3);
  assert.equal(file.sizeBytes, 3);
  await file.append(bytes(" three"));
  await assert.rejects(file.truncate(10), RangeError);
  await assert.rejects(file.truncate(-1), RangeError);
  await file.close();
  assert.equal(await content(disk, path), "one three");
});

everywhere("writing once more changes nothing, and goes no further than the file", async (disk, directory) => {
  const path = `${directory}/a`;
  await write(disk, path, "one two");
  const file = await disk.open(path, "append");
  await file.rewrite(4, bytes("tw"));
  await file.append(bytes(" three"));
  await file.rewrite(0, bytes("one two three"));
  await file.sync();
  assert.equal(file.sizeBytes, 13);
  await assert.rejects(file.rewrite(10, bytes("ree!")), RangeError);
  await assert.rejects(file.rewrite(-1, bytes("o")), RangeError);
  await file.close();
  assert.equal(await content(disk, path), "one two three");
});

everywhere("reopening to append goes on at the end", async (disk, directory) => {
  const path = `${directory}/a`;
  await write(disk, path, "one");
  const file = await disk.open(path, "append");
  assert.equal(file.sizeBytes, 3);
  await file.append(bytes(" two"));
  await file.close();
  assert.equal(await content(disk, path), "one two");
});

everywhere("opening says what is missing and what exists", async (disk, directory) => {
  await write(disk, `${directory}/a`, "");
  await assert.rejects(disk.open(`${directory}/a`, "create"), fails("exists", `${directory}/a`));
  await assert.rejects(disk.open(`${directory}/b`, "append"), fails("missing", `${directory}/b`));
  await assert.rejects(disk.open(`${directory}/b`, "read"), fails("missing", `${directory}/b`));
  await assert.rejects(disk.open(`${directory}/none/b`, "create"), fails("missing", `${directory}/none/b`));
  await assert.rejects(disk.open(directory, "read"), fails("io", directory));
  await assert.rejects(disk.list(`${directory}/none`), fails("missing", `${directory}/none`));
  await assert.rejects(disk.remove(`${directory}/b`), fails("missing", `${directory}/b`));
  await assert.rejects(disk.rename(`${directory}/b`, `${directory}/c`), fails("missing", `${directory}/b`));
  await assert.rejects(disk.syncDirectory(`${directory}/none`), fails("missing", `${directory}/none`));
});

everywhere("a file opened to read refuses changes", async (disk, directory) => {
  const path = `${directory}/a`;
  await write(disk, path, "one");
  const file = await disk.open(path, "read");
  await assert.rejects(file.append(bytes("x")), fails("denied", path));
  await assert.rejects(file.truncate(0), fails("denied", path));
  await assert.rejects(file.rewrite(0, bytes("o")), fails("denied", path));
  await file.close();
  assert.equal(await content(disk, path), "one");
});

everywhere("a closed file refuses everything but closing again", async (disk, directory) => {
  const path = `${directory}/a`;
  const file = await disk.open(path, "create");
  await file.close();
  await file.close();
  await assert.rejects(file.append(bytes("x")), fails("io", path));
  await assert.rejects(file.read(0, new Uint8Array(1)), fails("io", path));
  await assert.rejects(file.sync(), fails("io", path));
  await assert.rejects(file.truncate(0), fails("io", path));
  await assert.rejects(file.rewrite(0, bytes("")), fails("io", path));
});

everywhere("closing lets the calls under way finish", async (disk, directory) => {
  const file = await disk.open(`${directory}/a`, "create");
  await file.append(Buffer.alloc(100_000, 7));
  // Longer than the file, so that the read asks the system a second time.
  const into = new Uint8Array(200_000);
  const read = file.read(0, into);
  const sync = file.sync();
  await file.close();
  await sync;
  assert.equal(await read, 100_000);
  assert.equal(into[99_999], 7);
});

everywhere("renaming replaces the target, and an open file stays readable", async (disk, directory) => {
  await write(disk, `${directory}/new`, "new");
  await write(disk, `${directory}/old`, "old");
  const old = await disk.open(`${directory}/old`, "read");
  await disk.rename(`${directory}/new`, `${directory}/old`);
  assert.deepEqual(await disk.list(directory), ["old"]);
  assert.equal(await content(disk, `${directory}/old`), "new");
  const into = new Uint8Array(3);
  await old.read(0, into);
  assert.equal(Buffer.from(into).toString(), "old");
  await old.close();
});

everywhere("listing is sorted and holds files and directories of that level alone", async (disk, directory) => {
  await disk.makeDirectory(`${directory}/d/e`);
  await disk.makeDirectory(`${directory}/d/e`);
  for (const name of ["b", "a10", "a9", "d/inner"]) await write(disk, `${directory}/${name}`, "");
  assert.deepEqual(await disk.list(directory), ["a10", "a9", "b", "d"]);
  assert.deepEqual(await disk.list(`${directory}/d`), ["e", "inner"]);
  await disk.remove(`${directory}/b`);
  await disk.syncDirectory(directory);
  assert.deepEqual(await disk.list(directory), ["a10", "a9", "d"]);
});

everywhere("stat tells size and kind, or that there is nothing", async (disk, directory) => {
  await write(disk, `${directory}/a`, "12345");
  assert.deepEqual(await disk.stat(`${directory}/a`), { sizeBytes: 5, directory: false });
  assert.equal((await disk.stat(directory))?.directory, true);
  assert.equal(await disk.stat(`${directory}/none`), undefined);
  assert.equal(await disk.stat(`${directory}/none/deeper`), undefined);
});

everywhere("free space is not more than there is in all", async (disk, directory) => {
  const space = await disk.freeSpace(directory);
  assert.ok(space.freeBytes > 0);
  assert.ok(space.freeBytes <= space.totalBytes);
});

everywhere("a lock is refused while it is held, names its owner, and can be had after", async (disk, directory) => {
  const path = `${directory}/owner.db`;
  const first = await disk.lock(path, "the first");
  assert.ok("release" in first);
  const refused = await disk.lock(path, "the second");
  assert.ok("heldBy" in refused);
  assert.match(refused.heldBy, /^the first/);
  await first.release();
  const second = await disk.lock(path, "the second");
  assert.ok("release" in second);
  await first.release();
  assert.ok("heldBy" in (await disk.lock(path, "the third")), "a second release must not free another's lock");
  await second.release();
});

everywhere("a lock in a directory that is missing says so", async (disk, directory) => {
  await assert.rejects(disk.lock(`${directory}/none/owner.db`, "me"), fails("missing", `${directory}/none/owner.db`));
});

test("memory disk: the capacity is a limit, and removing a file gives its space back once it is closed", async () => {
  const disk = memoryDisk({ capacityBytes: 1000 });
  const file = await disk.open("/a", "create");
  await file.append(new Uint8Array(900));
  await assert.rejects(file.append(new Uint8Array(101)), fails("full", "/a"));
  assert.equal(file.sizeBytes, 900);
  await file.append(new Uint8Array(100));
  assert.equal((await disk.freeSpace("/")).freeBytes, 0);
  await file.truncate(600);
  assert.equal((await disk.freeSpace("/")).freeBytes, 400);
  await disk.remove("/a");
  assert.equal((await disk.freeSpace("/")).freeBytes, 400);
  await file.close();
  assert.deepEqual(await disk.freeSpace("/"), { freeBytes: 1000, totalBytes: 1000 });
});

test("memory disk: renaming over a file gives its space back", async () => {
  const disk = memoryDisk({ capacityBytes: 10 });
  await write(disk, "/a", "12345");
  await write(disk, "/b", "123");
  await disk.rename("/b", "/a");
  await disk.rename("/a", "/a");
  assert.equal((await disk.freeSpace("/")).freeBytes, 7);
});
