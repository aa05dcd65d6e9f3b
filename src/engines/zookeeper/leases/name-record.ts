import { ByteReader, ByteWriter } from "../../shared/binary.ts";
import { LeaseState } from "../../shared/leases/lease-state.ts";
import { nothing } from "../nodes.ts";
import type { NodeData } from "../protocol.ts";
import { type Step, takeSteps } from "./steps.ts";

/** 1 was the state alone, as `LeaseState` writes it. */
const format = 2;
const formatOfState = 1;
const stepNumbers = { acquire: 1, renew: 2, release: 3 } as const;

/**
 * What a name's node holds: the state before its last change, and the steps of that change. When the change was made and which number it has is not known before it is made, and stands beside the data in
 * the node afterwards; so whoever reads it takes the steps at that time, and all come to the same state.
 */
export function encodeRecord(before: Buffer, steps: readonly Step[]): Buffer {
  const writer = new ByteWriter().u8(format).bytes(before).whole(steps.length);
  for (const step of steps) writeStep(writer, step);
  return writer.done();
}

/** The state since the node's last change. */
export function stateOf(node: NodeData | undefined): LeaseState {
  if (node === undefined || node.data.length === 0) return LeaseState.decode(nothing);
  if (node.data[0] === formatOfState) return LeaseState.decode(node.data);
  const reader = new ByteReader(node.data, "a leased name");
  if (reader.u8() !== format) throw reader.corrupt();
  const state = LeaseState.decode(reader.bytes());
  const steps: Step[] = [];
  for (let left = reader.whole(); left > 0; left--) steps.push(readStep(reader));
  reader.end();
  takeSteps(state, steps, node.stat);
  return state;
}

function writeStep(writer: ByteWriter, step: Step): void {
  writer.u8(stepNumbers[step.type]);
  if (step.type === "acquire") {
    const { holder, weight, capacity, ttlMs, data } = step.request;
    writer.text(holder).whole(weight).whole(capacity).f64(ttlMs);
    if (data === undefined) writer.u8(0);
    else writer.u8(1).text(data);
    writer.u8(step.waits ? 1 : 0).f64(step.patienceMs);
  } else if (step.type === "renew") {
    // A token that somebody made up may be any number.
    writer.text(step.holder).f64(step.token).f64(step.ttlMs);
  } else writer.text(step.holder).u8(step.placeOnly ? 1 : 0);
}

function readStep(reader: ByteReader): Step {
  const type = reader.u8();
  const holder = reader.text();
  if (type === stepNumbers.acquire) {
    const [weight, capacity, ttlMs] = [reader.whole(), reader.whole(), reader.f64()];
    const data = reader.u8() === 0 ? undefined : reader.text();
    const [waits, patienceMs] = [reader.u8() === 1, reader.f64()];
    return { type: "acquire", request: { holder, weight, capacity, ttlMs, data }, waits, patienceMs };
  }
  if (type === stepNumbers.renew) return { type: "renew", holder, token: reader.f64(), ttlMs: reader.f64() };
  if (type === stepNumbers.release) return { type: "release", holder, placeOnly: reader.u8() === 1 };
  throw reader.corrupt();
}
