import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { fileURLToPath } from "node:url";

interface Entry {
  readonly source: string;
  readonly types: string;
  readonly default: string;
}

const root = fileURLToPath(new URL("..", import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
  name: string;
  files: string[];
  exports: Record<string, Entry>;
};
const subpaths = Object.keys(manifest.exports);
const specifierOf = (subpath: string): string => manifest.name + subpath.slice(1);
const slow = process.env.TENON_SLOW === "1" ? {} : { skip: "builds the package: npm run test:slow" };

test("every entry of the package loads from source and exports something", async () => {
  assert.ok(subpaths.includes("./messaging"));
  for (const subpath of subpaths) {
    const loaded: Record<string, unknown> = await import(specifierOf(subpath));
    assert.ok(Object.keys(loaded).length > 0, `${specifierOf(subpath)} exports nothing`);
    assert.equal("default" in loaded, false, `${specifierOf(subpath)} has a default export`);
  }
});

test("each entry's source, types and code are the same file of src and dist", () => {
  for (const [subpath, entry] of Object.entries(manifest.exports)) {
    const stem = entry.source.replace(/^\.\/src\/(.*)\.ts$/, "$1");
    assert.deepEqual(
      entry,
      { source: `./src/${stem}.ts`, types: `./dist/${stem}.d.ts`, default: `./dist/${stem}.js` },
      subpath,
    );
    assert.ok(existsSync(join(root, entry.source)), entry.source);
  }
});

test("the root entry loads no engine", () => {
  const main = `
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ load(url, context, next) { loaded.push(url); return next(url, context); } });
    await import("tenon");
    console.log(JSON.stringify(loaded));
  `;
  const output = execFileSync(process.execPath, ["--conditions=source", "--input-type=module", "--eval", main], {
    cwd: root,
    encoding: "utf8",
  });
  const loaded = JSON.parse(output) as string[];
  assert.ok(loaded.some((url) => url.endsWith("/src/index.ts")));
  assert.deepEqual(
    loaded.filter((url) => url.includes("/engines/")),
    [],
  );
});

/** Builds into a folder of its own, so that nobody's dist is disturbed. */
function build(t: TestContext): string {
  const folder = mkdtempSync(join(root, "test", ".docs-build-"));
  t.after(() => rmSync(folder, { recursive: true }));
  execFileSync(
    process.execPath,
    [join(root, "node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json", "--outDir", folder],
    { cwd: root, stdio: "pipe" },
  );
  return folder;
}

test("the build holds what the entries promise, and it loads without TypeScript", slow, async (t) => {
  const folder = build(t);
  for (const entry of Object.values(manifest.exports)) {
    assert.ok(existsSync(join(folder, entry.types.replace("./dist/", ""))), entry.types);
    const loaded: Record<string, unknown> = await import(join(folder, entry.default.replace("./dist/", "")));
    assert.ok(Object.keys(loaded).length > 0, entry.default);
  }
});

test("what is published holds the code and the documents, and no test", slow, () => {
  const output = execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
    cwd: root,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [packed] = JSON.parse(output) as [{ files: { path: string }[] }];
  const paths = packed.files.map((file) => file.path);
  assert.ok(paths.includes("package.json") && paths.includes("LICENSE"));
  assert.deepEqual(
    paths.filter((path) => /\.(test|fuzz|bench)\.|^(src|test|bench|examples|scripts)\//.test(path)),
    [],
  );
});
