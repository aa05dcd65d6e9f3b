/** For `tenon migrate-topic --to`. */
import { setTimeout as sleep } from "node:timers/promises";
import { open, ownSite } from "./site.ts";

/** Copies are stored late, so that whoever does not wait for them is seen. */
const lateMs = 1_000;

export async function engine() {
  const opened = await open(ownSite().to);
  const messages = new Proxy(opened.messages, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (name !== "append") return value.bind(target);
      return async (...batch: readonly unknown[]) => {
        await sleep(lateMs);
        return await value.apply(target, batch);
      };
    },
  });
  return { messages, world: opened.world, [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose]() };
}
