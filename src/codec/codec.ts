import { TenonError } from "../contracts/errors.ts";

/** Turns values into bytes and back. One codec may be shared by any number of topics and key spaces. */
export interface Codec<T> {
  /** Throws `invalid` when the value cannot be encoded. The bytes must not change afterwards. */
  encode(value: T): Uint8Array;
  /** Throws `invalid` when the bytes are not what `encode` makes. The bytes must not be changed. */
  decode(body: Uint8Array): T;
  /** A media type. */
  readonly contentType: string;
}

/** Refuses what is no codec when it is handed over, not when the first value comes. `what` says what needs it. */
export function checkCodec<T>(what: string, codec: Codec<T>): Codec<T> {
  if (typeof codec?.encode === "function" && typeof codec.decode === "function") return codec;
  throw new TenonError(
    "invalid",
    `${what} needs a codec: json(), text(), bytes(), or your own with encode and decode.`,
  );
}
