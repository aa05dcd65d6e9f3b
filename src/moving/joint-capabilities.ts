import type { MessageCapabilities } from "../contracts/messages.ts";

const survival = ["nothing", "process", "machine", "replicas"] as const;
const deduplication = ["none", "session", "id"] as const;
const limits = ["none", "refuse", "evict"] as const;

function lesser<T extends string>(order: readonly T[], one: T, other: T): T {
  return order[Math.min(order.indexOf(one), order.indexOf(other))]!;
}

/** What holds wherever a topic is: the lesser of both engines, in everything. */
export function jointCapabilities(one: MessageCapabilities, other: MessageCapabilities): MessageCapabilities {
  return {
    survives: lesser(survival, one.survives, other.survives),
    deduplicate: lesser(deduplication, one.deduplicate, other.deduplicate),
    delay: one.delay && other.delay,
    delayLatenessMs: Math.max(one.delayLatenessMs, other.delayLatenessMs),
    replay: one.replay && other.replay,
    fence: one.fence && other.fence,
    orderAfterCrash: one.orderAfterCrash && other.orderAfterCrash,
    // A lane may be on one engine while the topic that it appends to is on the other.
    atomic: false,
    messageBytesMax: Math.min(one.messageBytesMax, other.messageBytesMax),
    keyBytesMax: Math.min(one.keyBytesMax, other.keyBytesMax),
    partitionsMax: Math.min(one.partitionsMax, other.partitionsMax),
    windowMax: Math.min(one.windowMax, other.windowMax),
    heldMax: Math.min(one.heldMax, other.heldMax),
    sessionMsMin: Math.max(one.sessionMsMin, other.sessionMsMin),
    countLimits: lesser(limits, one.countLimits, other.countLimits),
    // The seal is what a move works with.
    seal: false,
    batchBytesMax: Math.min(one.batchBytesMax, other.batchBytesMax),
  };
}
