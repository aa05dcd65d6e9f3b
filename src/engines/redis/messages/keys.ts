/** What Redis keys a topic's family has in common. A family shares one slot: a topic, its dead letters and its retries. */
export interface Family {
  /** What the keys of its topics begin with; a topic's number follows. */
  readonly base: string;
  /** A hash from the names of its topics to their numbers. */
  readonly topics: string;
  /** A hash of counters that only grow: topics and grants. */
  readonly counters: string;
}

/** `orders`, `orders..billing..dead` and `orders..billing..retry` are one family. */
export function familyOf(prefix: string, topic: string): Family {
  const end = topic.indexOf("..");
  const name = end > 0 ? topic.slice(0, end) : topic;
  // Braces would end the hash tag.
  const tag = name.replace(/[%{}]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
  const base = `${prefix}:messages:{${tag}}:`;
  return { base, topics: `${base}topics`, counters: `${base}counters` };
}

/** A hash from the names of all topics to their numbers. */
export function namesKey(prefix: string): string {
  return `${prefix}:messages:topics`;
}

/** Where a topic's lanes are told of changes; see `partition.part.lua` for what is said. */
export function channelOf(topicKey: string): string {
  return `${topicKey}:w`;
}
