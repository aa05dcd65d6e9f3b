import type { Numbered } from "./reports.ts";

/** Whether the group's handler fails the message once. */
export function fails(group: string, { value }: Numbered): boolean {
  return group === "billing" && value % 7 === 3;
}

/** Whether the group gives the message up. */
export function isPoison(group: string, { value }: Numbered): boolean {
  return group === "shipping" && value % 19 === 5;
}
