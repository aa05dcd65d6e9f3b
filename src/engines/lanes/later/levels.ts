/** There is a level for every so many times as long. */
const factor = 4;
/** What waits longer than the last level's span comes there again and again. */
export const levelMax = 10;

/** How long a message waits in a level: 4 units in the first one, 4 times as long in each further one. With a unit of a second the tenth is 12 days. */
export function spanOf(level: number, unitMs: number): number {
  return unitMs * factor ** level;
}

/** The level whose span is the longest that does not go beyond what is left; 0 when there is none. */
export function levelFor(leftMs: number, unitMs: number): number {
  let level = 0;
  while (level < levelMax && spanOf(level + 1, unitMs) <= leftMs) level += 1;
  return level;
}
