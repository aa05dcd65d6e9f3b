import type { LogRecord } from "../../contracts/log.ts";
import type { Run } from "./message-format.ts";

/** Reads a run's records from a position on, until there are as many as wanted. */
export function addRecords(records: LogRecord[], run: Run, from: number, limit: number): void {
  while (run.position < run.end && records.length < limit) {
    if (run.position < from) run.skip();
    else {
      const { position, key, body, headers, publishedAt } = run.read();
      records.push({ position, key, body, headers, appendedAt: publishedAt });
    }
  }
}
