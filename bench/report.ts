import { mkdir, statfs, writeFile } from "node:fs/promises";
import { cpus, platform, release, totalmem } from "node:os";
import { dirname, join } from "node:path";
import type { MissingPeer, Row } from "./harness.ts";
import { SURVIVES_TEXT } from "./peer.ts";
import type { Verdict } from "./requirements.ts";
import { median, pairedRatio } from "./statistics.ts";

/** What the last two columns compare with. */
export interface Comparison {
  /** Every row is given as a multiple of this peer's, at the same durability. */
  readonly floor: string;
  /** Ours: the rows of a peer with this prefix; a foreign row says how many times better ours is, at the same durability. */
  readonly ours: string;
}

/** The rows of one scenario after another, as tables. */
export function printRows(rows: readonly Row[], comparison: Comparison): void {
  for (const [scenario, group] of Map.groupBy(rows, (row) => row.scenario)) {
    const unit = group[0]!.unit === "ms" ? "milliseconds, less is better" : "per second, more is better";
    print(`\n${scenario} (${unit})`);
    const lines = group.map((row) => [
      row.peer,
      SURVIVES_TEXT[row.survives],
      format(median(row.rounds), row.unit),
      `${format(Math.min(...row.rounds), row.unit)} – ${format(Math.max(...row.rounds), row.unit)}`,
      ratioText(row, floorOf(row, group, comparison)),
      oursText(row, group, comparison),
    ]);
    printTable(["", "survives a crash of", "median", "min – max", "× floor", "ours is better by"], lines);
  }
}

function floorOf(row: Row, group: readonly Row[], { floor }: Comparison): Row | undefined {
  return group.find((other) => other.peer.startsWith(floor) && other.survives === row.survives);
}

function ratioText(row: Row, reference: Row | undefined): string {
  if (reference === undefined || reference === row) return "";
  return pairedRatio(row.rounds, reference.rounds).toFixed(2);
}

/** One figure per row of ours that survives as much as the peer does. */
function oursText(row: Row, group: readonly Row[], { floor, ours }: Comparison): string {
  if (row.peer.startsWith(ours) || row.peer.startsWith(floor)) return "";
  const candidates = group.filter((other) => other.peer.startsWith(ours) && other.survives === row.survives);
  const factors = candidates.map((candidate) => {
    const factor = pairedRatio(candidate.rounds, row.rounds);
    return `${(row.unit === "ms" ? 1 / factor : factor).toFixed(1)} ×`;
  });
  return factors.join(" / ");
}

function format(value: number, unit: Row["unit"]): string {
  if (unit === "ms") return value.toFixed(2);
  return Math.round(value).toLocaleString("en-US");
}

/** The first two columns to the left, figures to the right. */
function printTable(header: readonly string[], lines: readonly (readonly string[])[]): void {
  const used = header.map((_, column) => column === 0 || lines.some((line) => line[column] !== ""));
  const widths = header.map((title, column) => Math.max(title.length, ...lines.map((line) => line[column]!.length)));
  for (const line of [header, ...lines]) {
    const cells = line.map((cell, column) =>
      column < 2 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
    );
    print(`  ${cells.filter((_, column) => used[column]).join("  ")}`.trimEnd());
  }
}

export function printMissing(missing: readonly MissingPeer[]): void {
  if (missing.length === 0) return;
  print("\nNot measured:");
  for (const { peer, reason } of missing) print(`  ${peer}: ${reason.split("\n")[0]}`);
}

/** Prints what is required and answers whether all that could be judged holds. */
export function printVerdicts(verdicts: readonly Verdict[]): boolean {
  if (verdicts.length > 0) print("\nRequired:");
  for (const { text, holds } of verdicts) {
    print(`  ${holds === undefined ? "skipped" : holds ? "ok     " : "BROKEN "}  ${text}`);
  }
  return verdicts.every(({ holds }) => holds !== false);
}

export async function environmentOf(directory: string): Promise<Readonly<Record<string, string | number>>> {
  const processors = cpus();
  return {
    node: process.version,
    system: `${platform()} ${release()}`,
    processor: processors[0]?.model ?? "unknown",
    processors: processors.length,
    memoryMiB: Math.round(totalmem() / 2 ** 20),
    fileSystemType: `0x${(await statfs(directory)).type.toString(16)}`,
  };
}

/** Writes to `bench/results/<name>.json` or to the file that was asked for; says where. */
export async function writeJson(name: string, jsonPath: string | undefined, content: unknown): Promise<void> {
  const path = jsonPath ?? join(import.meta.dirname, "results", `${name}.json`);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `${JSON.stringify(content, undefined, 2)}\n`);
  print(`\nFigures written to ${path}`);
}

export function print(line: string): void {
  console.log(line);
}
