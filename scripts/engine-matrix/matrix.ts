/** The table of docs/capabilities.md that says what each engine carries, made of what the engines themselves declare. */
import type { Carried } from "./openers.ts";

/** One engine's cells, by the names of their rows. */
export type Column = ReadonlyMap<string, string>;

export const matrixBegin = "<!-- engine matrix: node --conditions=source scripts/engine-matrix/main.ts -->";
export const matrixEnd = "<!-- end of the engine matrix -->";

const contracts = ["messages", "log", "keyValue", "leases", "rates"] as const;
const absent = "–";

/** What an engine declares, in cells. */
export function columnOf(engine: Carried): Column {
  const cells = new Map<string, string>();
  for (const contract of contracts) {
    const carried = engine[contract];
    cells.set(`**\`${contract}\`**`, carried === undefined ? absent : "yes");
    for (const [name, value] of Object.entries(carried?.capabilities ?? {})) {
      cells.set(`\`${contract}.${name}\``, cellOf(value));
    }
  }
  return cells;
}

function cellOf(value: unknown): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (value === Number.POSITIVE_INFINITY) return "unbounded";
  return value.toLocaleString("en-US");
}

/** Rows stand in the order of the contracts, and of the capabilities as they were first declared. */
export function tableOf(columns: ReadonlyMap<string, Column>): string {
  const rows = contracts.flatMap((contract) => {
    const names = new Set([...columns.values()].flatMap((column) => [...column.keys()]));
    return [...names].filter((name) => name === `**\`${contract}\`**` || name.startsWith(`\`${contract}.`));
  });
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [
    line(["", ...columns.keys()]),
    line(["---", ...[...columns.keys()].map(() => "---")]),
    ...rows.map((row) => line([row, ...[...columns.values()].map((column) => column.get(row) ?? absent)])),
  ].join("\n");
}

/** The columns of a table that `tableOf` made. */
export function columnsIn(table: string): ReadonlyMap<string, Column> {
  const [head = [], , ...rows] = table.split("\n").map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  return new Map(
    head.slice(1).map((title, index) => {
      const cells = rows.map((row) => [row[0]!, row[index + 1]!] as const);
      return [title, new Map(cells.filter(([name, cell]) => name.startsWith("**") || cell !== absent))];
    }),
  );
}

/** What stands between the two marks. */
export function tableIn(document: string): string {
  const [begin, end] = boundsIn(document);
  return document.slice(begin, end).trim();
}

export function withTable(document: string, table: string): string {
  const [begin, end] = boundsIn(document);
  return `${document.slice(0, begin)}\n\n${table}\n\n${document.slice(end)}`;
}

function boundsIn(document: string): readonly [number, number] {
  const begin = document.indexOf(matrixBegin);
  const end = document.indexOf(matrixEnd);
  if (begin < 0 || end < begin) throw new Error("the document has no place for the matrix");
  return [begin + matrixBegin.length, end];
}
