import { TenonError } from "../contracts/errors.ts";
import type { Codec } from "./codec.ts";
import { json } from "./json.ts";

/** Standard Schema, version 1 (standardschema.dev), as far as it is used here: Zod, Valibot, ArkType and others fit. */
export interface StandardSchemaV1<Input = unknown, Output = Input> {
  readonly "~standard": {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/**
 * JSON checked by a schema, when encoding and when decoding. What is encoded is the value as it was given, so that the schema's
 * defaults and transformations happen once, on decoding. Issues are reported by their paths only: validators like to
 * quote the value. Asynchronous validation is `unsupported`.
 */
export function schemaCodec<T>(schema: StandardSchemaV1<unknown, T>): Codec<T> {
  const plain = json<unknown>();
  return {
    contentType: plain.contentType,
    encode(value) {
      validate(schema, value, "encoded");
      return plain.encode(value);
    },
    decode(body) {
      return validate(schema, plain.decode(body), "decoded");
    },
  };
}

function validate<T>(schema: StandardSchemaV1<unknown, T>, value: unknown, when: "encoded" | "decoded"): T {
  const { vendor, validate: check } = schema["~standard"];
  const result = check(value);
  if ("then" in result) {
    result.then(undefined, ignore);
    throw new TenonError(
      "unsupported",
      `The ${vendor} schema validates asynchronously, which the order of messages does not allow. Validate the asynchronous part in the handler.`,
      {
        fields: { vendor },
      },
    );
  }
  if (result.issues === undefined) return result.value;
  const paths = result.issues.map(pathOf);
  const shown = paths.slice(0, 5).join(", ") + (paths.length > 5 ? `, and ${paths.length - 5} more` : "");
  throw new TenonError(
    "invalid",
    `A value that was ${when} does not fit its ${vendor} schema at: ${shown}. Correct the value or the schema.`,
    {
      fields: { vendor, issueCount: paths.length },
    },
  );
}

function pathOf(issue: SchemaIssue): string {
  const path = (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part));
  return path.length === 0 ? "(root)" : path.join(".");
}

function ignore(): void {}
