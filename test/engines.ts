/**
 * Real servers for tests. One that does not answer is a reason to skip, by name; where TENON_REQUIRE_ENGINES names it it is a failure.
 *
 *   const redis = await engine("redis");
 *   test("a stream keeps its order", { skip: redis.skip }, async () => { … redis.url … });
 */
import { type EngineAddress, type EngineName, engineAddress, engineNames } from "../scripts/engines/addresses.ts";
import { probe } from "../scripts/engines/probes.ts";

export { type EngineAddress, type EngineName, engineAddress, engineNames } from "../scripts/engines/addresses.ts";

export interface RealEngine extends EngineAddress {
  /** For the options of `test`: false, or why its tests cannot run here. */
  readonly skip: string | false;
}

/** Asks the server once. Rejects when it is required and does not answer. */
export async function engine(name: EngineName): Promise<RealEngine> {
  const required = isRequired(name);
  const address = engineAddress(name);
  try {
    await probe(address);
    return { ...address, skip: false };
  } catch (error) {
    const reason = error instanceof Error && error.message !== "" ? error.message : String(error);
    const found = `${name} does not answer at ${hostsOf(address)} (from ${address.source}): ${reason}`;
    if (required) throw new Error(`TENON_REQUIRE_ENGINES requires ${name}. ${found}`, { cause: error });
    return { ...address, skip: `${found}; start it with \`npm run engines -- up ${name}\`` };
  }
}

/** What TENON_REQUIRE_ENGINES says: names separated by commas, or `all`. */
export function isRequired(name: EngineName, list = process.env.TENON_REQUIRE_ENGINES ?? ""): boolean {
  const names = list
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
  const unknown = names.find((part) => part !== "all" && !(engineNames as readonly string[]).includes(part));
  if (unknown !== undefined) throw new Error(`TENON_REQUIRE_ENGINES names ${unknown}, and there is no such engine.`);
  return names.includes("all") || names.includes(name);
}

/** Without the credentials that a URL may hold. */
function hostsOf({ urls }: EngineAddress): string {
  return urls.map((url) => new URL(url).host).join(", ");
}
