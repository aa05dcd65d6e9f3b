import { ByteReader, ByteWriter } from "../shared/binary.ts";

interface Mark {
  readonly opened: number;
  closed: number;
  position: number;
}

const format = 1;

/**
 * Since when a partition's messages have been settled by every group, as marks in time: some fifty of them, whatever the traffic. Encoded: 18 to 25 bytes for each. What is below a position
 * may go when the retention has passed since it was settled; marks are closed late, so it never goes early.
 */
export class Retention {
  readonly #marks: Mark[] = [];

  /** When something can go next; `undefined`: not by time alone. */
  nextAt(retentionMs: number): number | undefined {
    const [head] = this.#marks;
    return head === undefined ? undefined : head.closed + retentionMs;
  }

  /** All below `settled` is settled by every group at `now`. Answers below which position the retention has passed. */
  note(settled: number, retentionMs: number, now: number): number {
    // A group went back: what it has before it again is kept anew from its next settlement on.
    while (this.#marks.length > 0 && this.#marks.at(-1)!.position > settled) this.#marks.pop();
    const last = this.#marks.at(-1);
    if (last === undefined || last.position < settled) {
      if (last !== undefined && now >= last.opened && now - last.opened < retentionMs / 50) {
        last.closed = now;
        last.position = settled;
      } else this.#marks.push({ opened: now, closed: now, position: settled });
    }
    let passed = 0;
    while (this.#marks.length > 0 && this.#marks[0]!.closed + retentionMs <= now)
      passed = this.#marks.shift()!.position;
    return passed;
  }

  encode(): Buffer {
    const writer = new ByteWriter().u8(format).whole(this.#marks.length);
    for (const { opened, closed, position } of this.#marks) writer.f64(opened).f64(closed).whole(position);
    return writer.done();
  }

  /** No bytes: no marks. */
  static decode(bytes: Uint8Array): Retention {
    const retention = new Retention();
    if (bytes.length === 0) return retention;
    const reader = new ByteReader(bytes, "a partition's retention");
    if (reader.u8() !== format) throw reader.corrupt();
    for (let left = reader.whole(); left > 0; left--) {
      retention.#marks.push({ opened: reader.f64(), closed: reader.f64(), position: reader.whole() });
    }
    reader.end();
    return retention;
  }
}
