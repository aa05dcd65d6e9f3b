import { TenonError } from "../contracts/errors.ts";
import type { SchemaIssue, StandardSchemaV1 } from "./schema.ts";

/** How values become bytes and come back. Both directions throw on what they cannot express. */
export interface Codec<T> {
  encode(value: T): Uint8Array;
  /** The bytes must not be changed; they may be kept. */
  decode(body: Uint8Array): T;
  readonly contentType: string;
}

// Malformed UTF-8 must be seen as undecodable and never become replacement characters.
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** JSON in UTF-8. What `JSON.stringify` leaves out (functions, `undefined` members) does not arrive. */
export function json<T>(): Codec<T> {
  return {
    contentType: "application/json",
    encode: encodeJson,
    decode: (body) => JSON.parse(utf8.decode(body)) as T,
  };
}

function encodeJson(value: unknown): Uint8Array {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) throw new TypeError("the value has no JSON form");
  return Buffer.from(text);
}

/** The bytes as they are, without a copy: they must not be changed until the publish settles. */
export function bytes(): Codec<Uint8Array> {
  return {
    contentType: "application/octet-stream",
    encode(value) {
      if (!(value instanceof Uint8Array)) throw new TypeError("the value is not a Uint8Array");
      return value;
    },
    decode: (body) => body,
  };
}

/** Text in UTF-8. */
export function text(): Codec<string> {
  return {
    contentType: "text/plain; charset=utf-8",
    encode(value) {
      if (typeof value !== "string") throw new TypeError("the value is not a string");
      return Buffer.from(value);
    },
    decode: (body) => utf8.decode(body),
  };
}

/**
 * JSON whose values hold to a schema. A value is validated before it is published, and stored as it was given; it is
 * validated again when it is consumed, and the handler gets what the schema made of it, so a transformation happens once.
 */
export function validated<T>(schema: StandardSchemaV1<unknown, T>): Codec<T> {
  const validate = (value: unknown): T => {
    const result = schema["~standard"].validate(value);
    if (result instanceof Promise) {
      result.catch(() => {});
      throw new TenonError(
        "unsupported",
        "The schema validates asynchronously, which would let messages overtake each other. Use a schema that validates synchronously.",
      );
    }
    if (result.issues !== undefined) throw notValid(result.issues);
    return result.value;
  };
  return {
    contentType: "application/json",
    encode(value) {
      validate(value);
      return encodeJson(value);
    },
    decode: (body) => validate(JSON.parse(utf8.decode(body))),
  };
}

/** Names where it fails, never what stood there: the messages of issues may quote the value. */
function notValid(issues: readonly SchemaIssue[]): TenonError {
  const paths = issues.slice(0, 5).map((issue) => {
    const parts = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
    return parts.length === 0 ? "the value itself" : parts.join(".");
  });
  const more = issues.length > paths.length ? ` and ${issues.length - paths.length} more` : "";
  return new TenonError("invalid", `The value does not match the topic's schema at ${paths.join(", ")}${more}.`, {
    fields: { issues: issues.length },
  });
}
