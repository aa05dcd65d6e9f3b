import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

interface Fence {
  /** `README.md:12`, where its first line of code stands. */
  readonly place: string;
  readonly runs: boolean;
  readonly code: string;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const typescript = join(root, "node_modules/typescript/bin/tsc");

/** The code in a document between ` ```ts ` or ` ```ts run ` and the closing line. */
function fencesOf(path: string, text: string): Fence[] {
  const fences: Fence[] = [];
  const lines = text.split("\n");
  for (let index = 0; index < lines.length; index++) {
    const opening = /^```(ts|typescript)( run)?\s*$/.exec(lines[index]!);
    if (opening === null) continue;
    const end = lines.indexOf("```", index + 1);
    assert.notEqual(end, -1, `${path}:${index + 1}: the fence is never closed`);
    fences.push({
      place: `${path}:${index + 2}`,
      runs: opening[2] !== undefined,
      code: lines.slice(index + 1, end).join("\n"),
    });
    index = end;
  }
  return fences;
}

/** What is wrong with the fences: first all are compiled in one go, then those that say so are run, each in a folder of its own. */
function failuresOf(fences: readonly Fence[]): string[] {
  const folder = mkdtempSync(join(root, "test", ".docs-"));
  try {
    const places = new Map<string, Fence>();
    for (const [index, fence] of fences.entries()) {
      const name = `fence-${index}`;
      places.set(name, fence);
      mkdirSync(join(folder, name));
      // A module of its own, whatever it imports; on the first line, so that line numbers stay.
      writeFileSync(join(folder, name, "main.ts"), `${fence.code}\nexport {};\n`);
    }
    // The names that a document's snippet leaves unused are part of showing them.
    const configuration = {
      extends: "../../tsconfig.json",
      compilerOptions: { noUnusedLocals: false, noUnusedParameters: false },
      include: [],
      files: [...places.keys()].map((name) => `${name}/main.ts`),
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify(configuration));
    const compiled = spawnSync(process.execPath, [typescript, "-p", folder, "--pretty", "false"], {
      cwd: folder,
      encoding: "utf8",
      timeout: 120_000,
    });
    const failures = compiled.status === 0 ? [] : compilerMessages(compiled.stdout + compiled.stderr, places);
    for (const [name, fence] of failures.length === 0 ? places : []) {
      if (!fence.runs) continue;
      const run = spawnSync(process.execPath, ["--conditions=source", "main.ts"], {
        cwd: join(folder, name),
        encoding: "utf8",
        timeout: 30_000,
      });
      if (run.status !== 0)
        failures.push(`${fence.place}: ${run.error?.message ?? `exit ${run.status}`}\n${run.stderr}`);
    }
    return failures;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The compiler's messages, at the places of the documents. */
function compilerMessages(output: string, places: ReadonlyMap<string, Fence>): string[] {
  return output
    .trim()
    .split("\n")
    .map((line) =>
      line.replace(/^.*?(fence-\d+)\/main\.ts\((\d+),\d+\)/, (_, name: string, number: string) => {
        const [path, first] = places.get(name)!.place.split(":");
        return `${path}:${Number(first) + Number(number) - 1}`;
      }),
    );
}

test("the code in the documents compiles, and what is marked to run runs", () => {
  const documents = globSync("{README.md,docs/**/*.md,examples/*/README.md}", { cwd: root });
  const fences = documents.flatMap((path) => fencesOf(path, readFileSync(join(root, path), "utf8")));
  assert.deepEqual(fences.length === 0 ? [] : failuresOf(fences), []);
});

test("code that does not compile, or fails when run, is reported at its place in the document", () => {
  const wrongType = fencesOf("a.md", "# A\n\n```ts\nconst a = 1;\nconst b: string = a;\n```\n\n```sh\nexit 1\n```\n");
  assert.match(failuresOf(wrongType).join("\n"), /^a\.md:5: error TS2322/);
  const throws = fencesOf(
    "b.md",
    '```ts\nthrow new Error("not run");\n```\n```ts run\nimport { TenonError } from "tenon";\nthrow new TenonError("timeout", "on purpose");\n```\n',
  );
  const failures = failuresOf(throws);
  assert.equal(failures.length, 1);
  assert.match(failures[0]!, /^b\.md:5: exit 1\n(.*\n)*.*on purpose/);
  assert.throws(() => fencesOf("c.md", "```ts\n"), /c\.md:1: the fence is never closed/);
});
