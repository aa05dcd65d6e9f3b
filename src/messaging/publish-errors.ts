import { TenonError } from "../contracts/errors.ts";

export function publishTimedOut(topic: string, partition: number, unknown: boolean): TenonError {
  const fate = unknown
    ? "It may have been stored; publish it again only if its handling is idempotent."
    : "It was not stored.";
  return new TenonError(
    "timeout",
    `Publishing to topic "${topic}", partition ${partition}, took longer than its timeout. ${fate}`,
    { outcome: unknown ? "unknown" : "not-applied", fields: { topic, partition } },
  );
}

export function bufferFull(topic: string, bufferBytesMax: number): TenonError {
  return new TenonError(
    "overloaded",
    `Publishing to topic "${topic}" found no room within its timeout: ${bufferBytesMax} bytes wait for the engine already. ` +
      "It was not stored. Publish more slowly, or raise bufferBytesMax.",
    { fields: { topic, bufferBytesMax } },
  );
}

export function topicClosed(topic: string): TenonError {
  return new TenonError("closed", `Topic "${topic}" was closed; make a new one.`, { fields: { topic } });
}

/** A refusal that follows an unknown attempt says nothing about that attempt. */
export function unknownBecause(failure: TenonError): TenonError {
  return new TenonError(failure.code, failure.message, { outcome: "unknown", fields: failure.fields, cause: failure });
}
