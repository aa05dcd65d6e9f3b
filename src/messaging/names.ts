import { TenonError } from "../contracts/errors.ts";

export { deadTopicOf, internalPrefix, isInternal, retryTopicOf } from "../contracts/message-conventions.ts";

const pattern = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;
const lengthMax = 200;

/** Refuses names that users may not give. `..` never occurs in them, so that internal topics cannot collide with theirs. */
export function checkName(kind: "topic" | "group" | "exchange", name: string): void {
  if (typeof name !== "string")
    throw new TenonError("invalid", `The name of ${article(kind)} ${kind} must be a string.`);
  if (name.length === 0) throw new TenonError("invalid", `The name of ${article(kind)} ${kind} must not be empty.`);
  if (name.length > lengthMax) {
    throw new TenonError(
      "invalid",
      `The name of ${article(kind)} ${kind} has ${name.length} characters; at most ${lengthMax} are allowed.`,
      { fields: { kind, length: name.length, lengthMax } },
    );
  }
  if (!pattern.test(name)) {
    throw new TenonError(
      "invalid",
      `"${name}" cannot be the name of ${article(kind)} ${kind}: only letters, digits, "_" and "-" are allowed, in parts joined by single dots.`,
      { fields: { kind, name } },
    );
  }
}

function article(kind: string): string {
  return kind === "exchange" ? "an" : "a";
}

export const redriveGroup = "redrive";
