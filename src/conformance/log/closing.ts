import type { LogCase } from "../conformance-case.ts";
import { refused, staysPending, within } from "../expectations.ts";
import { append, declared, output, partitionOf } from "./fixtures.ts";

export const closingCases: readonly LogCase[] = [
  {
    name: "closing the engine ends a waiting read, and everything later is refused",
    rule: "Rejects with `closed` when the engine closes.",
    async run({ engine }) {
      await declared(engine);
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      const { next } = await partitionOf(engine, "clicks");
      const waiting = engine.log.read({
        log: "clicks",
        partition: 0,
        from: next,
        limit: 1,
        waitMs: Number.POSITIVE_INFINITY,
      });
      waiting.catch(() => undefined);
      await staysPending(engine.world, "reading at the end", waiting);
      await engine.close();
      await refused("closed", "the waiting read", () => within(engine.world, "the read ends", waiting));
      await refused("closed", "appending", () => append(engine, "clicks", ["a"]));
      await refused("closed", "reading", () => engine.log.read({ log: "clicks", partition: 0, from: 0n, limit: 1 }));
      await refused("closed", "committing", () => engine.log.commit(writer, { outputs: [output("clicks", ["a"])] }));
      await refused("closed", "opening", () => engine.log.openWriter("writer", ["clicks"]));
      await refused("closed", "describing", () => engine.log.describe("clicks"));
      await refused("closed", "declaring", () => declared(engine, { log: "other" }));
    },
  },
];
