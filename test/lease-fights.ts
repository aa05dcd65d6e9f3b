/** Several engines, as so many processes, whose holders fight for one name. */
import type { LeaseEngine } from "tenon/contracts";
import { checkGrants, type Grant } from "./lease-grants.ts";

const holdersPerEngine = 4;
const rounds = 5;

export async function fightForOneName(engines: readonly { readonly leases: LeaseEngine }[]): Promise<void> {
  const grants: Grant[] = [];
  const fight = async ({ leases }: { readonly leases: LeaseEngine }, holder: string) => {
    for (let round = 0; round < rounds; round++) {
      const asked = performance.now();
      const request = { holder: `${holder}#${round}`, ttlMs: 60_000, waitMs: Number.POSITIVE_INFINITY };
      const lease = await leases.acquire("name", request);
      const grant: Grant = { token: lease!.token, asked, at: performance.now(), until: Number.POSITIVE_INFINITY };
      grants.push(grant);
      await new Promise((resolve) => setImmediate(resolve));
      grant.until = performance.now();
      await leases.release("name", request.holder);
    }
  };
  await Promise.all(
    engines.flatMap((engine, index) =>
      Array.from({ length: holdersPerEngine }, (_, number) => fight(engine, `${index}.${number}`)),
    ),
  );
  checkGrants(grants);
}
