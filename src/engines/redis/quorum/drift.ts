/** By how much two clocks may come apart within a time: servers keep a lease for so much longer than its holder relies on it. */
export function driftMs(ms: number): number {
  return ms * 0.01 + 2;
}
