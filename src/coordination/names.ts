import { TenonError } from "../contracts/errors.ts";

/** What may bear a name. Each kind has names of its own: a mutex and a semaphore that are called the same do not meet. */
export type Kind = "mutex" | "read-write-lock" | "semaphore" | "election" | "barrier" | "latch" | "fence";

/** The name under which the engine knows it. */
export function leaseName(kind: Kind, name: string, nameBytesMax: number): string {
  const full = `${kind}/${checkName(kind, name)}`;
  checkBytes(kind, full, nameBytesMax);
  return full;
}

/** The key under which its state is, or the beginning of its keys. No name's keys begin with those of another. */
export function stateKey(kind: Kind, name: string, keyBytesMax: number): string {
  const key = `tenon/${kind}/${encodeURIComponent(checkName(kind, name))}/`;
  // Room for what comes after it.
  checkBytes(kind, key, keyBytesMax - 300);
  return key;
}

export function checkName(kind: Kind, name: string): string {
  if (typeof name !== "string" || name === "") {
    throw new TenonError("invalid", `A ${kind} needs a name of at least one character.`);
  }
  if (!name.isWellFormed()) {
    throw new TenonError("invalid", `The name of a ${kind} holds a lone surrogate. Call toWellFormed() on it.`);
  }
  return name;
}

function checkBytes(kind: Kind, full: string, bytesMax: number): void {
  const sizeBytes = Buffer.byteLength(full);
  if (sizeBytes <= bytesMax) return;
  throw new TenonError(
    "invalid",
    `The name of a ${kind} takes ${sizeBytes} bytes, and this engine has room for ${bytesMax}. Shorten it, or use its hash.`,
    { fields: { sizeBytes, bytesMax } },
  );
}
