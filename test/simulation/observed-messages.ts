import type { Lane, LaneCommit, Membership, MessageEngine, Positions } from "../../src/contracts/messages.ts";

/** The same engine; `settled` hears of every settlement that has resolved. */
export function observedMessages(
  engine: MessageEngine,
  settled: (lane: string, positions: Positions) => void,
): MessageEngine {
  const observed = (lane: Lane): Lane =>
    over(lane, {
      commit: async (change: LaneCommit) => {
        await lane.commit(change);
        settled(`${lane.topic}/${lane.partition}`, change.settled);
      },
    });
  return over(engine, {
    join: async (...parameters: Parameters<MessageEngine["join"]>) => {
      const membership: Membership = await engine.join(...parameters);
      return over(membership, { nextLane: async (options) => observed(await membership.nextLane(options)) });
    },
  });
}

/** An object that is another one but for some of its members. */
function over<Target extends object>(target: Target, members: Partial<Target>): Target {
  return new Proxy(target, {
    get: (_, name) => {
      const own = members[name as keyof Target];
      if (own !== undefined) return own;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
