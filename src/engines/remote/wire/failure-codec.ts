import { type ErrorCode, type Outcome, TenonError } from "../../../contracts/errors.ts";
import { bigint, boolean, type Codec, list, number, record, text, word } from "./codecs.ts";

type Field = string | number | bigint | boolean;

const field: Codec<Field> = {
  write(writer, value) {
    if (typeof value === "number") number.write(writer.u8(1), value);
    else if (typeof value === "boolean") boolean.write(writer.u8(3), value);
    else if (typeof value === "bigint" && BigInt.asIntN(64, value) === value) bigint.write(writer.u8(2), value);
    else text.write(writer.u8(0), String(value));
  },
  read(reader) {
    const kind = reader.u8();
    if (kind > 3) throw new RangeError(`${kind} is no kind of a field`);
    return ([text, number, bigint, boolean] as const)[kind]!.read(reader);
  },
};

interface WireFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly outcome: Outcome;
  readonly fields: readonly { readonly name: string; readonly value: Field }[];
}

const wireFailure = record<WireFailure>({
  code: word(
    "not-found",
    "conflict",
    "timeout",
    "unavailable",
    "unsupported",
    "invalid",
    "overloaded",
    "lost",
    "corrupt",
    "closed",
    "denied",
  ),
  message: text,
  outcome: word("not-applied", "applied", "unknown"),
  fields: list(record<{ readonly name: string; readonly value: Field }>({ name: text, value: field })),
});

/** An error as the other side is told of it: without its cause, which is the server's own affair. */
export const failure: Codec<TenonError> = {
  write(writer, { code, message, outcome, fields }) {
    const listed = Object.entries(fields).map(([name, value]) => ({ name, value }));
    wireFailure.write(writer, { code, message, outcome, fields: listed });
  },
  read(reader) {
    const { code, message, outcome, fields } = wireFailure.read(reader);
    const given = Object.fromEntries(fields.map(({ name, value }) => [name, value]));
    return new TenonError(code, message, { outcome, fields: given });
  },
};
