/** How much of a log's end Kafka puts into one file at most: files go as a whole, so what is old goes the later the larger they are. */
const segmentBytes = { least: 64 * 1024 * 1024, most: 1024 * 1024 * 1024 } as const;
const segmentMs = { least: 60_000, most: 7 * 24 * 3_600_000 } as const;

/** What keeps a log's records for at least as long, and at least as many bytes of them. `Infinity`: all. */
export function retentionSettings({
  retentionMs,
  retentionBytes,
}: {
  readonly retentionMs: number;
  readonly retentionBytes: number;
}): Readonly<Record<string, string>> {
  return {
    "retention.ms": wholeOf(retentionMs),
    "retention.bytes": wholeOf(retentionBytes),
    "segment.ms": String(within(Math.ceil(retentionMs), segmentMs)),
    // The largest batch has to fit.
    "segment.bytes": String(within(Math.ceil(retentionBytes / 4), segmentBytes)),
  };
}

function wholeOf(retention: number): string {
  return retention === Number.POSITIVE_INFINITY
    ? "-1"
    : String(Math.min(Math.ceil(retention), Number.MAX_SAFE_INTEGER));
}

function within(value: number, { least, most }: { readonly least: number; readonly most: number }): number {
  return Math.min(most, Math.max(least, value));
}
