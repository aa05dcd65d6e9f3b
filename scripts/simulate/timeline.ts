import type { StruckFault, TraceLine } from "../../src/simulation/index.ts";

const INSTANT_WIDTH = 14;
const COLUMN_WIDTH = 16;
/** After so many lines the names of the columns are repeated. */
const HEAD_EVERY = 60;
const FAULT_MARK = "!!";

/**
 * A run to be read: one line for each event, beginning in the column of its process, whose incarnation is told where it changes. What belongs to no process
 * begins at the left, faults are marked.
 */
export function* timelineOf(lines: readonly TraceLine[], faults: readonly StruckFault[]): Generator<string> {
  const columns = columnsOf(lines);
  const head = headOf(columns);
  const struck = new Set(faults.map((fault) => `fault ${fault.number} ${fault.text}`));
  const incarnations = new Map<string, string>();
  let count = 0;
  let lastInstant = "";
  for (const { atMs, text } of lines) {
    if (count++ % HEAD_EVERY === 0) yield head;
    const instant = instantOf(atMs);
    // An instant that stays is not repeated, so that what happens at once is seen to.
    const shown = (instant === lastInstant ? "" : instant).padStart(INSTANT_WIDTH);
    lastInstant = instant;
    const event = eventOf(text);
    if (event === undefined) {
      yield `${shown} ${struck.has(text) ? FAULT_MARK : "--"} ${text}`;
      continue;
    }
    const began = incarnations.get(event.process) !== event.incarnation;
    incarnations.set(event.process, event.incarnation);
    const indent = " ".repeat(columns.indexOf(event.process) * COLUMN_WIDTH);
    yield `${shown}    ${indent}${began ? `#${event.incarnation} ` : ""}${event.text}`;
  }
}

/** `12,345.678` ms. */
export function instantOf(atMs: number): string {
  const [whole, part] = atMs.toFixed(3).split(".") as [string, string];
  return `${whole.replaceAll(/\B(?=(\d{3})+$)/g, ",")}.${part}`;
}

function columnsOf(lines: readonly TraceLine[]): readonly string[] {
  const names = new Set<string>();
  for (const { text } of lines) {
    const event = eventOf(text);
    if (event !== undefined) names.add(event.process);
  }
  return [...names];
}

function headOf(columns: readonly string[]): string {
  const names = columns.map((name) => name.slice(0, COLUMN_WIDTH - 1).padEnd(COLUMN_WIDTH)).join("");
  return `${"ms".padStart(INSTANT_WIDTH)}    ${names}`.trimEnd();
}

/** `shop#2 read from engine:4000` is what happened to the second incarnation of `shop`. */
function eventOf(text: string) {
  const parts = /^([\w.-]+)#(\d+) (.*)$/.exec(text);
  return parts === null ? undefined : { process: parts[1]!, incarnation: parts[2]!, text: parts[3]! };
}
