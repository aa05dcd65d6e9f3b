const delayMs = 25;
const delayMsMax = 2_000;

/** The wait before an engine that failed is asked again; `failures` counts from 0, `random` is uniform in [0, 1). */
export function backoffMs(failures: number, random: number): number {
  const ceiling = Math.min(delayMsMax, delayMs * 2 ** failures);
  return ceiling / 2 + random * (ceiling / 2);
}
