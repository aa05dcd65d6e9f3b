/** An instant of virtual time, or a stretch of it, as sentences tell it. */
export function ms(instant: number): string {
  return `${Number(instant.toFixed(3))} ms`;
}
