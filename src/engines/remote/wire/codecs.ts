import { TenonError } from "../../../contracts/errors.ts";
import type { Reader, Writer } from "./cursor.ts";

/** How a value is written and read. Writing throws `invalid` for a value of another type; reading throws a `RangeError` for bytes that mean nothing. */
export interface Codec<T> {
  readonly write: (writer: Writer, value: T) => void;
  readonly read: (reader: Reader) => T;
}

export const nothing: Codec<void> = { write: () => undefined, read: () => undefined };

export const number: Codec<number> = {
  write(writer, value) {
    if (typeof value !== "number") throw wrongType("a number", value);
    writer.f64(value);
  },
  read: (reader) => reader.f64(),
};

export const bigint: Codec<bigint> = {
  write(writer, value) {
    if (typeof value !== "bigint") throw wrongType("a bigint", value);
    if (BigInt.asIntN(64, value) !== value) throw new TenonError("invalid", "a bigint is beyond 64 bits");
    writer.i64(value);
  },
  read: (reader) => reader.i64(),
};

export const boolean: Codec<boolean> = {
  write(writer, value) {
    if (typeof value !== "boolean") throw wrongType("true or false", value);
    writer.u8(value ? 1 : 0);
  },
  read(reader) {
    const value = reader.u8();
    if (value > 1) throw new RangeError(`${value} is neither true nor false`);
    return value === 1;
  },
};

export const text: Codec<string> = {
  write(writer, value) {
    if (typeof value !== "string") throw wrongType("a string", value);
    writer.text(value);
  },
  read: (reader) => reader.text(),
};

export const bytes: Codec<Uint8Array> = {
  write(writer, value) {
    if (!(value instanceof Uint8Array)) throw wrongType("a Uint8Array", value);
    writer.bytes(value);
  },
  read: (reader) => reader.bytes(),
};

export function optional<T>(codec: Codec<T>): Codec<T | undefined> {
  return {
    write(writer, value) {
      writer.u8(value === undefined ? 0 : 1);
      if (value !== undefined) codec.write(writer, value);
    },
    read: (reader) => (boolean.read(reader) ? codec.read(reader) : undefined),
  };
}

export function list<T>(codec: Codec<T>): Codec<readonly T[]> {
  return {
    write(writer, values) {
      if (!Array.isArray(values)) throw wrongType("an array", values);
      writer.u32(values.length);
      for (let i = 0; i < values.length; i++) codec.write(writer, values[i] as T);
    },
    read(reader) {
      const count = reader.count();
      const values: T[] = [];
      for (let i = 0; i < count; i++) values.push(codec.read(reader));
      return values;
    },
  };
}

/** One of a few words. */
export function word<T extends string | boolean>(...words: readonly T[]): Codec<T> {
  return {
    write(writer, value) {
      const index = words.indexOf(value);
      if (index < 0) throw new TenonError("invalid", `expected one of ${words.map(String).join(", ")}`);
      writer.u8(index);
    },
    read: (reader) => chosen(words, reader.u8()),
  };
}

type Fields<T> = { readonly [Key in keyof T]-?: Codec<T[Key]> };

/** Its fields, one after the other, in the order in which they are listed here. */
export function record<T extends object>(fields: Fields<T>): Codec<T> {
  const names = Object.keys(fields) as (keyof T)[];
  const listed = names.map((name) => [name, fields[name] as Codec<T[keyof T]>] as const);
  return {
    write(writer, value) {
      if (typeof value !== "object" || value === null) throw wrongType("an object", value);
      for (const [name, codec] of listed) codec.write(writer, value[name]);
    },
    read(reader) {
      const value: Partial<T> = {};
      for (const [name, codec] of listed) value[name] = codec.read(reader);
      return value as T;
    },
  };
}

type Kinds<T extends { readonly type: string }> = {
  readonly [Kind in T["type"]]: Fields<Omit<Extract<T, { readonly type: Kind }>, "type">>;
};

/** One of several records, told apart by their `type`. */
export function oneOf<T extends { readonly type: string }>(what: string, kinds: Kinds<T>): Codec<T> {
  const names = Object.keys(kinds) as T["type"][];
  const codecs = names.map((name) => record<object>(kinds[name] as Fields<object>));
  return {
    write(writer, value) {
      const index = names.indexOf(value?.type);
      if (index < 0)
        throw new TenonError("invalid", `there is no such ${what}; its type is one of ${names.join(", ")}`);
      writer.u8(index);
      codecs[index]!.write(writer, value);
    },
    read(reader) {
      const index = reader.u8();
      const type = chosen(names, index);
      return { type, ...codecs[index]!.read(reader) } as T;
    },
  };
}

function chosen<T>(choices: readonly T[], index: number): T {
  const choice = choices[index];
  if (choice === undefined) throw new RangeError(`${index} is none of ${choices.length} choices`);
  return choice;
}

function wrongType(expected: string, value: unknown): TenonError {
  return new TenonError("invalid", `expected ${expected}, not a value of type ${typeof value}`);
}
