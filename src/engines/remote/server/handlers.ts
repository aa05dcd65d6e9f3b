import { TenonError } from "../../../contracts/errors.ts";
import type { KeyValueEngine, WatchEvent } from "../../../contracts/key-value.ts";
import type { Lease, LeaseDescription, LeaseEngine } from "../../../contracts/leases.ts";
import type { LogEngine } from "../../../contracts/log.ts";
import type { MessageEngine } from "../../../contracts/messages.ts";
import type { ConcurrencyRule, RateEngine, RateRule } from "../../../contracts/rates.ts";
import type { World } from "../../../world/world.ts";
import { type Operation, operations, type WatchKey } from "../wire/operations.ts";
import { type Grant, watchEventBytes } from "../wire/state-codecs.ts";
import { ServedMember } from "./served-member.ts";
import type { ServedWatch } from "./served-watch.ts";

/** What can be served: every engine of Tenon's that carries these contracts. */
export interface ServedEngine {
  readonly name: string;
  readonly world: World;
  readonly topicCreation: "ifMissing" | "never";
  readonly messages: MessageEngine;
  readonly keyValue: KeyValueEngine;
  readonly leases: LeaseEngine;
  readonly rates: RateEngine;
  /** Left out by engines that have no logs; then clients are refused. */
  readonly log?: LogEngine | undefined;
  /** When it aborts, the server ends. */
  readonly ended: AbortSignal;
}

/** What a request may ask of the connection that it came over. */
export interface Caller {
  /** Aborts when the answer of an operation that waits is not wanted any more. */
  readonly signal: AbortSignal;
  /** Its pings speak for the member from now on. */
  carry(member: ServedMember): void;
  watch<Item>(
    key: WatchKey,
    open: (signal: AbortSignal) => AsyncIterable<Item>,
    itemBytes: (item: Item) => number,
  ): ServedWatch<Item>;
  endWatch(number: number): void;
}

export interface Handler<Request = unknown, Answer = unknown> {
  readonly operation: Operation<Request, Answer>;
  readonly carryOut: (request: Request, caller: Caller) => Promise<Answer>;
}

type AddHandler = <Request, Answer>(
  operation: Operation<Request, Answer>,
  carryOut: Handler<Request, Answer>["carryOut"],
) => void;

/** What each operation does with the engine. Members outlive connections, so they are the server's. */
export function handlersOf(
  engine: ServedEngine,
  world: World,
  members: Map<string, ServedMember>,
): ReadonlyMap<number, Handler> {
  const handlers = new Map<number, Handler>();
  const on: AddHandler = (operation, carryOut) => {
    handlers.set(operation.code, { operation, carryOut } as unknown as Handler);
  };
  const { messages, keyValue, leases, rates } = engine;

  on(operations.declare, ({ topic, declaration }) => messages.declare(topic, declaration));
  on(operations.topics, () => messages.topics());
  on(operations.remove, (topic) => messages.remove(topic));
  on(operations.removeGroup, ({ topic, group }) => messages.removeGroup(topic, group));
  on(operations.describeTopic, (topic) => messages.describe(topic));
  on(operations.append, (batch) => messages.append(batch));
  on(operations.seek, ({ topic, group, to }) => messages.seek(topic, group, to));

  /** Attempts to join that are not members yet, which may be given up meanwhile. */
  const attempts = new Set<{ readonly member: string; givenUp: boolean }>();
  on(operations.join, async ({ member: id, topic, group, again, options }, caller) => {
    if (again) {
      const attempt = { member: id, givenUp: false };
      attempts.add(attempt);
      await throwIfGone(messages, topic, group).finally(() => attempts.delete(attempt));
      if (attempt.givenUp) throw new TenonError("unavailable", `joining group ${group} of topic ${topic} was given up`);
    }
    let member = members.get(id);
    if (member === undefined) {
      member = new ServedMember(messages, world, { topic, group, options }, () => members.delete(id));
      if (!member.ended) members.set(id, member);
    }
    caller.carry(member);
    await member.joined;
  });
  on(operations.resume, async ({ member: id, waitsFor }, caller) => {
    const member = members.get(id);
    if (member === undefined) return false;
    member.resume(waitsFor);
    caller.carry(member);
    return true;
  });
  on(operations.ask, ({ member: id, number, answered, asked }) => {
    return members.get(id)?.ask(number, answered, asked) ?? Promise.resolve({ type: "gone" });
  });
  on(operations.abandon, async (id) => {
    for (const attempt of attempts) if (attempt.member === id) attempt.givenUp = true;
    await members.get(id)?.abandon();
  });

  on(operations.get, (keys) => keyValue.get(keys));
  on(operations.commit, (changes) => keyValue.commit(changes));
  on(operations.scan, ({ prefix, options }) => keyValue.scan(prefix, options));
  on(operations.watchKeys, ({ prefix, ...key }, caller) =>
    caller.watch<WatchEvent>(key, (signal) => keyValue.watch(prefix, { signal }), watchEventBytes).next(),
  );

  on(operations.acquire, async ({ name, request }, { signal }) => {
    const lease = await leases.acquire(name, request, { signal });
    return lease && grantOf(lease);
  });
  on(operations.renew, async ({ lease, ttlMs }) =>
    grantOf(await leases.renew({ ...lease, since: { monotonic: 0, wall: 0 } }, ttlMs)),
  );
  on(operations.release, ({ name, holder }) => leases.release(name, holder));
  on(operations.describeLease, (name) => leases.describe(name));
  on(operations.watchLease, ({ name, ...key }, caller) =>
    caller.watch<LeaseDescription>(key, (signal) => leases.watch(name, { signal }), leaseDescriptionBytes).next(),
  );
  on(operations.endWatch, async (watch, caller) => caller.endWatch(watch));

  on(operations.decide, async ({ key, rule, count }) => rates.decide(key, rule as RateRule, count));
  on(operations.enter, async ({ key, rule, permit }) => rates.enter(key, rule as ConcurrencyRule, permit));
  on(operations.leave, async ({ key, rule, permit }) => rates.leave(key, rule as ConcurrencyRule, permit));
  on(operations.reset, ({ key, rule }) => rates.reset(key, rule));

  if (engine.log !== undefined) addLog(on, engine.log);
  return handlers;
}

function addLog(on: AddHandler, log: LogEngine): void {
  on(operations.declareLog, ({ log: name, declaration }) => log.declare(name, declaration));
  on(operations.logs, () => log.logs());
  on(operations.removeLog, (name) => log.remove(name));
  on(operations.describeLog, (name) => log.describe(name));
  on(operations.appendRecords, (batch) => log.append(batch));
  on(operations.readLog, (request) => log.read({ ...request, waitMs: 0 }));
  on(operations.awaitLog, (request, { signal }) => log.read(request, { signal }));
  on(operations.locateLog, ({ log: name, partition, at }) => log.locate(name, partition, at));
  on(operations.readerPositions, async ({ reader, log: name }) =>
    [...(await log.positions(reader, name))].map(([partition, position]) => ({ partition, position })),
  );
  on(operations.forgetReader, ({ reader, log: name }) => log.forget(reader, name));
  on(operations.openWriter, ({ name, logs }) => log.openWriter(name, logs));
  on(operations.commitLog, ({ writer, change }) => log.commit(writer, change));
}

/** Who was a member before must not bring back what was removed meanwhile. */
async function throwIfGone(messages: MessageEngine, topic: string, group: string): Promise<void> {
  const { groups } = await messages.describe(topic);
  if (groups.some((each) => each.group === group)) return;
  const text = `group ${group} of topic ${topic} was removed; declare it anew first`;
  throw new TenonError("not-found", text, { fields: { topic, group } });
}

function grantOf({ name, holder, token, ttlMs }: Lease): Grant {
  return { name, holder, token, ttlMs };
}

function leaseDescriptionBytes({ holders }: LeaseDescription): number {
  return 64 + holders.reduce((sum, { holder, data = "" }) => sum + 64 + 2 * (holder.length + data.length), 0);
}
