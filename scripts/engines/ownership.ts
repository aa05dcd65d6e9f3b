/** Which process is ours: the id alone may have passed on to another one, so the start time and the boot count, too. */
import { readFileSync } from "node:fs";

export interface OwnedProcess {
  readonly pid: number;
  /** The boot's id and the process' start in clock ticks since then. */
  readonly started: string;
}

/** As `/proc` shows it; `undefined` when there is no such process, or only its remains. */
export function identify(pid: number): OwnedProcess | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  const started = startOf(stat);
  if (started === undefined) return undefined;
  const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return { pid, started: `${boot} ${started}` };
}

/** The start time in a line of `/proc/<pid>/stat`; `undefined` for a process that has ended and was not waited for. */
export function startOf(stat: string): string | undefined {
  // The second field is the command's name in parentheses, and may hold anything, spaces and parentheses included.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const state = fields[0];
  const start = fields[19];
  return state === "Z" || state === "X" || start === undefined || !/^\d+$/.test(start) ? undefined : start;
}

export function isRunning(owned: OwnedProcess, find: (pid: number) => OwnedProcess | undefined = identify): boolean {
  return find(owned.pid)?.started === owned.started;
}
