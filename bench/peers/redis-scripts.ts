/**
 * The floor of messaging on Redis: a bare client that sends the engine's own scripts, with batches as the engine makes them: what gathers while a
 * script is under way goes with the next one, one script per partition at once; a lane is fetched from while its last progress is being
 * recorded. It checks nothing, repeats nothing, and keeps no order of handlers. Only the topic and the group are made by the engine.
 */
import type { LaneOwner } from "../../src/engines/lanes/lane-owner.ts";
import type { RedisEngine } from "../../src/engines/redis/index.ts";
import { familyOf } from "../../src/engines/redis/messages/keys.ts";
import { append, commit, fetch } from "../../src/engines/redis/messages/scripts/scripts.ts";
import { ConsumeClock } from "../consume-clock.ts";
import { BODIES, closedLoop, complete, KEYS, timedLoop } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { emptyRedis, redisClient, redisEngine } from "../redis-clients.ts";
import { BareAppender, consumeLane } from "../redis-scripts.ts";

const PARTITIONS = 8;
const TOPIC = "bench";
const GROUP = "workers";
/** As Tenon's contestant. */
const CONCURRENCY = 1_024;
const JOINING = { sessionMs: 30_000, revokeMs: 10_000, windowMax: 100_000 };

export async function start({ port, backlog, keyed = false, timed = false }: PeerOptions): Promise<Peer> {
  const client = await redisClient(port!);
  for (const { source } of [append, commit, fetch]) await client.script("LOAD", source);

  const withTopic = async <R>(measure: (engine: RedisEngine, topic: string) => Promise<R>): Promise<R> => {
    const engine = await redisEngine(port!);
    try {
      await engine.messages.declare(TOPIC, { partitions: PARTITIONS, groups: [GROUP] });
      const { base, topics } = familyOf("tenon", TOPIC);
      return await measure(engine, `${base}${await client.hget(topics, TOPIC)}`);
    } finally {
      await engine.close();
      await emptyRedis(port!);
    }
  };
  const keyOf = (n: number) => KEYS[n % KEYS.length]!;

  return {
    publish(inFlight, durationMs) {
      const loop = timed ? timedLoop : closedLoop;
      return withTopic<Awaited<ReturnType<typeof loop>>>((_, topic) => {
        const appender = new BareAppender(client, topic, PARTITIONS);
        return loop(inFlight, durationMs, (n) =>
          appender.append(BODIES[n % BODIES.length]!, keyed ? keyOf(n) : undefined),
        );
      });
    },

    consume(concurrency = CONCURRENCY) {
      return withTopic(async (engine, topic) => {
        const appender = new BareAppender(client, topic, PARTITIONS);
        await complete(backlog, 8_192, (n) => appender.append(BODIES[n % BODIES.length]!, keyOf(n)));
        const clock = new ConsumeClock(backlog);
        const handler = async () => clock.handled();
        const membership = await engine.messages.join(TOPIC, GROUP, JOINING);
        const lanes: Promise<number>[] = [];
        while (lanes.length < PARTITIONS) {
          const { grant } = (await membership.nextLane()) as LaneOwner;
          const { groupNumber, partition, fence } = grant;
          lanes.push(consumeLane(client, topic, [groupNumber, partition, fence], concurrency, handler));
        }
        await Promise.all(lanes);
        const perSecond = clock.perSecond();
        await membership.leave();
        return perSecond;
      });
    },

    async close() {
      client.disconnect();
    },
  };
}
