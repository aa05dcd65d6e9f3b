/** Turns values into bytes and back. One codec may be shared by any number of topics and key spaces. */
export interface Codec<T> {
  /** Throws `invalid` when the value cannot be encoded. The bytes must not change afterwards. */
  encode(value: T): Uint8Array;
  /** Throws `invalid` when the bytes are not what `encode` makes. The bytes must not be changed. */
  decode(body: Uint8Array): T;
  /** A media type. */
  readonly contentType: string;
}
