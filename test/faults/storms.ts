import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { keepAlive } from "../server-suites.ts";
import type { Step } from "./plan.ts";
import { type RunSite, runStorm } from "./run.ts";

export interface StormOptions {
  readonly name: string;
  readonly skip: string | false;
  /** Words by which `npm test` finds the file. */
  readonly file: string;
  /** Those of the ordinary suite, and how many, from the first of them on, there are in the long rounds. */
  readonly seeds: { readonly ordinary: readonly number[]; readonly slow: number };
  readonly site: () => RunSite;
  readonly plan: (seed: number) => readonly Step[];
}

/** A storm by each seed as a test, two at once; `TENON_SEED` says which. */
export function storms({ name, skip, file, seeds, site, plan: draw }: StormOptions): void {
  keepAlive();
  describe(name, { skip, concurrency: 2 }, () => {
    for (const seed of chosen(seeds)) {
      test(`nothing acknowledged is lost, doubled or out of order (seed ${seed})`, async (t) => {
        const plan = draw(seed);
        const { faults, summary, least } = await runStorm({ seed, site: site(), plan });
        t.diagnostic(`seed ${seed}: ${summary}`);
        const steps = plan.map((step) => JSON.stringify(step)).join("\n");
        const command = `TENON_SEED=${seed} npm test -- ${file}`;
        assert.deepEqual(faults, [], `replay with: ${command}\n${faults.join("\n")}\nplan:\n${steps}`);
        // How much happens is the machine's business; that nothing did would be a run that tests nothing.
        assert.ok(least >= 1, `too little happened to test anything: ${summary}`);
      });
    }
  });
}

function chosen({ ordinary, slow }: StormOptions["seeds"]): readonly number[] {
  const given = process.env.TENON_SEED?.split(",").map(Number);
  if (given !== undefined) return given;
  return process.env.TENON_SLOW === "1" ? Array.from({ length: slow }, (_, index) => ordinary[0]! + index) : ordinary;
}
