import { existsSync, readFileSync } from "node:fs";
import type { TraceLine } from "../../src/simulation/index.ts";

/** A line of a trace as it stands in a file: the instant, a tabulator, the text without line breaks. */
export function lineOf(line: TraceLine): string {
  return `${line.atMs}\t${line.text.replaceAll("\n", " ⏎ ")}\n`;
}

/** All lines of a trace, also of one whose writer died; none when it died before it wrote. */
export function readTrace(path: string): readonly TraceLine[] {
  const lines: TraceLine[] = [];
  if (!existsSync(path)) return lines;
  for (const line of readFileSync(path, "utf8").split("\n")) {
    const tabulator = line.indexOf("\t");
    if (tabulator > 0) lines.push({ atMs: Number(line.slice(0, tabulator)), text: line.slice(tabulator + 1) });
  }
  return lines;
}
