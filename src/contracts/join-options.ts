import { TenonError } from "./errors.ts";
import type { JoinOptions, MessageCapabilities } from "./messages.ts";

const agreementBytesMax = 1_024;

/** Refuses what no engine takes, and what this one declares not to take. */
export function checkJoin(options: JoinOptions, capabilities: MessageCapabilities): void {
  const { sessionMs, revokeMs, windowMax, ephemeral, from, agreement = "" } = options;
  if (!(sessionMs > 0 && revokeMs >= 0 && Number.isInteger(windowMax) && windowMax >= 1)) {
    throw new TenonError("invalid", "joining a group needs sessionMs > 0, revokeMs ≥ 0 and a whole windowMax ≥ 1");
  }
  if (sessionMs < capabilities.sessionMsMin || windowMax > capabilities.windowMax) {
    throw new TenonError(
      "invalid",
      `joining a group with sessionMs ${sessionMs} and windowMax ${windowMax}: this engine takes at least ${capabilities.sessionMsMin} and at most ${capabilities.windowMax}`,
      { fields: { sessionMs, windowMax } },
    );
  }
  if (ephemeral === true && from !== undefined && from !== "now") {
    throw new TenonError("invalid", 'an ephemeral group starts "now"; leave `from` out');
  }
  if (typeof agreement === "string" && Buffer.byteLength(agreement) <= agreementBytesMax) return;
  throw new TenonError("invalid", `an agreement of a group's members is text of at most ${agreementBytesMax} bytes`);
}
