/** What the processes of a move tell their parent, which answers each with its number when it has written it down. */
export type Report =
  | { readonly did: "ready"; readonly address?: { readonly host: string; readonly port: number } }
  | { readonly did: "publish"; readonly key: string; readonly value: number }
  | {
      readonly did: "handle" | "give up";
      readonly group: string;
      readonly key: string;
      readonly value: number;
    };

/** The `value`-th message of its publisher under this name. It is the message's key unless it begins with `none`. */
export interface Numbered {
  readonly key: string;
  readonly value: number;
}

let count = 0;
const waiting = new Map<number, () => void>();

/** Resolves when the parent has written it down: what this process does afterwards comes after it for everybody. */
export function tell(report: Report): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const number = ++count;
  waiting.set(number, resolve);
  process.send!({ number, report });
  return promise;
}

/** Resolves when the parent says `stop`. */
export function stopped(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  process.on("message", (message) => {
    if (message === "stop") return resolve();
    const number = message as number;
    waiting.get(number)?.();
    waiting.delete(number);
  });
  return promise;
}
