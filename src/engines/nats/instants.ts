const form = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z$/;

/** An instant as the server writes it, in ms since the epoch, rounded down; `NaN` when it is none. */
export function instantOf(text: string): number {
  const found = form.exec(text);
  if (found === null) return Number.NaN;
  const [year, month, day, hours, minutes, seconds] = found.slice(1, 7).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  const ms = Number((found[7] ?? "").padEnd(3, "0").slice(0, 3));
  return (((daysUntil(year, month, day) * 24 + hours) * 60 + minutes) * 60 + seconds) * 1_000 + ms;
}

/** Days since the epoch, by the Gregorian calendar; a year begins with March here, so that leap days end it. */
function daysUntil(year: number, month: number, day: number): number {
  const shifted = month <= 2 ? year - 1 : year;
  const dayOfYear = Math.floor((153 * ((month + 9) % 12) + 2) / 5) + day - 1;
  const leapDays = Math.floor(shifted / 4) - Math.floor(shifted / 100) + Math.floor(shifted / 400);
  return shifted * 365 + leapDays + dayOfYear - 719_468;
}
