import { crc32 } from "node:zlib";
import { type ValidRequest, validText } from "../../../contracts/lease-requests.ts";

/** Names are spread over so many slots of a cluster. Never change it: the tokens of a name would start anew. */
const slots = 64;

/** A name as Redis knows it. */
export interface LeaseName {
  readonly name: string;
  /** Its first key. */
  readonly key: string;
  /** The channel where those who watch it hear that its holders changed. */
  readonly channel: string;
}

const rememberedMax = 1_024;

/** Names that were asked for lately are remembered: looking one up costs a quarter of checking it and making its strings anew. */
export class LeaseNames {
  readonly #prefix: string;
  readonly #nameBytesMax: number;
  readonly #remembered = new Map<string, LeaseName>();

  constructor(prefix: string, nameBytesMax: number) {
    this.#prefix = prefix;
    this.#nameBytesMax = nameBytesMax;
  }

  /** `invalid` for what cannot be a name. */
  of(name: string): LeaseName {
    return this.#remembered.get(name) ?? this.#make(name);
  }

  #make(name: string): LeaseName {
    validText("the name of a lease", name, 1, this.#nameBytesMax);
    const key = `${this.#prefix}:{lease-${crc32(name) % slots}}:n:${name}`;
    const made = { name, key, channel: `${this.#prefix}:lease:${name}` };
    if (this.#remembered.size >= rememberedMax) this.#remembered.clear();
    this.#remembered.set(name, made);
    return made;
  }
}

/** A holder as the scripts know it: behind the count of its bytes, so that none begins with another. */
export function ownerOf(holder: string): string {
  return `${Buffer.byteLength(holder)}:${holder}`;
}

/** What is asked for, as the scripts keep it. */
export function shareOf({ weight, capacity, data }: ValidRequest): string {
  return `/${weight}/${capacity}/${data === undefined ? "0" : `1${data}`}`;
}

export function ttlOf({ ttlMs }: { readonly ttlMs: number }): number {
  return Math.ceil(ttlMs);
}
