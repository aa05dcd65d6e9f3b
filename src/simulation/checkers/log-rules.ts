import { Violation } from "../system.ts";

/** Where a record of a log stands. */
export interface LogPlace {
  readonly partition: number;
  readonly position: bigint;
}

/** An output, and the input that it was made of. */
export interface DerivedRecord extends LogPlace {
  readonly from: LogPlace;
}

/** What became of an append: `"unknown"`, when nobody was told. */
export interface LogAppend {
  readonly value: string;
  readonly outcome: "stored" | "refused" | "unknown";
}

/** Every input counts once in the outputs, and within a partition of these the ones of one input partition stand in the order of their inputs. */
export function checkDerivedOnce(inputs: readonly LogPlace[], outputs: readonly DerivedRecord[]): void {
  const made = new Map(inputs.map((input) => [nameOf(input), 0]));
  const last = new Map<string, bigint>();
  for (const output of [...outputs].sort((a, b) => (a.position < b.position ? -1 : 1))) {
    const { from, partition } = output;
    const count = made.get(nameOf(from));
    if (count === undefined)
      throw new Violation(`output ${nameOf(output)} was made of ${nameOf(from)}, which is no input`);
    if (count > 0)
      throw new Violation(`two outputs were made of input ${nameOf(from)}, the second is ${nameOf(output)}`);
    made.set(nameOf(from), 1);
    const way = `${from.partition} to ${partition}`;
    const before = last.get(way) ?? -1n;
    if (from.position < before) {
      throw new Violation(`output ${nameOf(output)} of input ${nameOf(from)} stands behind that of input ${before}`);
    }
    last.set(way, from.position);
  }
  for (const [input, count] of made) if (count === 0) throw new Violation(`no output was made of input ${input}`);
}

/** What was acknowledged is stored once, what is in doubt once at most, and what was refused not at all; what one caller appended to a partition stands in the order of its calls. */
export function checkAppended(
  appends: readonly LogAppend[],
  stored: readonly (LogPlace & { readonly value: string })[],
): void {
  const places = new Map<string, LogPlace>();
  for (const record of stored) {
    const other = places.get(record.value);
    if (other !== undefined)
      throw new Violation(`${record.value} is stored at ${nameOf(other)} and at ${nameOf(record)}`);
    places.set(record.value, record);
  }
  const last = new Map<number, LogPlace>();
  for (const { value, outcome } of appends) {
    const place = places.get(value);
    if (outcome === "stored" && place === undefined)
      throw new Violation(`${value} was acknowledged, and is not stored`);
    if (outcome === "refused" && place !== undefined) {
      throw new Violation(`${value} was refused, and is stored at ${nameOf(place)}`);
    }
    if (place === undefined) continue;
    const before = last.get(place.partition);
    if (before !== undefined && place.position < before.position) {
      throw new Violation(
        `${value} stands at ${nameOf(place)}, before what was appended earlier, at ${nameOf(before)}`,
      );
    }
    last.set(place.partition, place);
  }
}

function nameOf({ partition, position }: LogPlace): string {
  return `${partition}/${position}`;
}
