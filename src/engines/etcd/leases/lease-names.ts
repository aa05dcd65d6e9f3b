import { TenonError } from "../../../contracts/errors.ts";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { LeaseHolder } from "../../../contracts/leases.ts";
import { base64, bytesOf, type KeyRange, type KeyValue, rangeOf } from "../wire.ts";

/** No name of a holder begins with this byte: former versions named a grant's key after its holder. */
const numbered = 0x80;

/** The keys of one leased name: one for each grant, one for each that waits. Its length before the name keeps names apart. */
export class LeasedName {
  readonly name: string;
  readonly holders: KeyRange;
  readonly waiters: KeyRange;
  /** Both of these. */
  readonly all: KeyRange;
  readonly #holderPrefix: Buffer;
  readonly #waiterPrefix: Buffer;

  constructor(prefix: string, name: string) {
    this.name = name;
    const base = `${prefix}/leases/${Buffer.byteLength(name)}:${name}/`;
    this.#holderPrefix = Buffer.from(`${base}h/`);
    this.#waiterPrefix = Buffer.from(`${base}w/`);
    this.holders = rangeOf(this.#holderPrefix);
    this.waiters = rangeOf(this.#waiterPrefix);
    this.all = { key: this.holders.key, range_end: this.waiters.range_end! };
  }

  /** For another grant beside these: the first key that none of them has, so that a name has as few keys as it ever had grants at a time. */
  keyBeside(grants: readonly { readonly key: string }[]): string {
    const taken = new Set(grants.map(({ key }) => key));
    let key: string;
    let number = 0;
    do key = base64(Buffer.concat([this.#holderPrefix, Buffer.of(numbered), Buffer.from(String(number++))]));
    while (taken.has(key));
    return key;
  }

  waiterKey(holder: string): string {
    return base64(Buffer.concat([this.#waiterPrefix, Buffer.from(holder)]));
  }

  /** Whose place it is; `undefined` when the key is no place of this name. */
  placeOf(key: string): string | undefined {
    const bytes = bytesOf(key);
    const prefix = this.#waiterPrefix;
    return bytes.subarray(0, prefix.length).equals(prefix) ? bytes.subarray(prefix.length).toString() : undefined;
  }

  isHolder(key: string): boolean {
    const prefix = this.#holderPrefix;
    return bytesOf(key).subarray(0, prefix.length).equals(prefix);
  }

  holderOf(pair: KeyValue): HolderKey {
    const value = this.#read<Omit<HolderValue, "holder"> & Partial<HolderValue>>(pair);
    const holder = value.holder ?? bytesOf(pair.key).subarray(this.#holderPrefix.length).toString();
    return { ...value, holder, key: pair.key, token: BigInt(pair.create_revision), lease: pair.lease };
  }

  waiterOf(pair: KeyValue): WaiterKey {
    const holder = bytesOf(pair.key).subarray(this.#waiterPrefix.length).toString();
    return { ...this.#read<WaiterValue>(pair), holder, revision: pair.create_revision, lease: pair.lease };
  }

  #read<T extends WaiterValue>(pair: KeyValue): T {
    try {
      const value = JSON.parse(bytesOf(pair.value).toString()) as T;
      if (Number.isInteger(value.weight) && Number.isInteger(value.capacity)) return value;
    } catch {
      // Told below.
    }
    const text = `what is stored of ${this.name} is not what was written; something else writes under this engine's prefix, or another version`;
    throw new TenonError("corrupt", text, { fields: { name: this.name } });
  }
}

/** Each key's create revision, which stays for as long as it is there, is the grant's token or the place in the queue. */
export interface WaiterValue {
  readonly weight: number;
  readonly capacity: number;
}

export interface HolderValue extends WaiterValue {
  readonly holder: string;
  readonly expiresAt: number;
  readonly data?: string | undefined;
}

export interface WaiterKey extends WaiterValue {
  readonly holder: string;
  readonly revision: string;
  readonly lease: string | undefined;
}

/** One grant, and no other one that ever stood under its key. */
export interface GrantKey {
  readonly key: string;
  readonly token: bigint;
}

export interface HolderKey extends HolderValue, GrantKey {
  readonly lease: string | undefined;
}

export function waiterValue({ weight, capacity }: ValidRequest): string {
  return base64(JSON.stringify({ weight, capacity } satisfies WaiterValue));
}

export function holderValue(
  { holder, weight, capacity, data }: Omit<HolderValue, "expiresAt">,
  expiresAt: number,
): string {
  const value: HolderValue = { holder, weight, capacity, expiresAt };
  return base64(JSON.stringify(data === undefined ? value : { ...value, data }));
}

export function describeHolder({ holder, token, weight, data, expiresAt }: HolderKey): LeaseHolder {
  return { holder, token, weight, data, expiresAt };
}
