import { TenonError } from "../../contracts/errors.ts";

/** Of queues and exchanges. The server takes names of up to 255 bytes; topics and groups have numbers in them, so that every name of theirs fits. */
export interface Names {
  readonly prefix: string;
  /** A value: which topics there are. */
  readonly catalogue: string;
  /** A queue that is there when the rest is, of this version. */
  readonly version: string;
  /** An exclusive queue: whoever has it makes the rest. */
  readonly making: string;
  /** An exchange: what members tell each other, by topic. */
  readonly news: string;
}

export interface TopicNames {
  /** A value: settings and groups. */
  readonly record: string;
  /** An exchange: a partition's messages go to each group's queue by the partition as key. */
  readonly exchange: string;
  /** The key under which news are told. */
  readonly news: string;
  /** A value: the partition's next position. */
  head(partition: number): string;
  /** A value: members, and who owns which lane. */
  group(group: number): string;
  /** A value: a lane's progress. */
  lane(group: number, partition: number): string;
  /** A queue: what a lane has not settled. */
  messages(group: number, partition: number): string;
}

const prefixFormat = /^[A-Za-z0-9_.-]{1,100}$/;

export function namesOf(prefix: string): Names {
  if (!prefixFormat.test(prefix) || prefix.startsWith("amq.")) {
    const text = `prefix is 1 to 100 letters, digits, ".", "_" or "-" and does not begin with "amq.", not ${JSON.stringify(prefix)}`;
    throw new TenonError("invalid", text);
  }
  return {
    prefix,
    catalogue: `${prefix}.catalogue`,
    version: `${prefix}.version-1`,
    making: `${prefix}.making`,
    news: `${prefix}.news`,
  };
}

export function topicNamesOf({ prefix }: Names, topic: number): TopicNames {
  const base = `${prefix}.t${topic}`;
  return {
    record: base,
    exchange: base,
    news: `t${topic}`,
    head: (partition) => `${base}.p${partition}`,
    group: (group) => `${base}.g${group}`,
    lane: (group, partition) => `${base}.g${group}.p${partition}`,
    messages: (group, partition) => `${base}.g${group}.p${partition}.messages`,
  };
}
