/** What the blocks that publish, consume and move messages agree on, and engines need not know. */

/**
 * The publisher's message id on a copy. It must not be the copy's own id: the engine would take the copy for a duplicate
 * of an earlier copy and drop it.
 */
export const idHeader = "tenon-id";

/** Topics that Tenon keeps for itself. */
export function isInternal(topic: string): boolean {
  return topic.includes("..");
}

/** How the names of all internal topics begin that belong to a topic, or to one of its groups. */
export function internalPrefix(topic: string, group?: string): string {
  return group === undefined ? `${topic}..` : `${topic}..${group}..`;
}

/** Where keyless messages of a group wait for a retry that is far away. */
export function retryTopicOf(topic: string, group: string): string {
  return `${internalPrefix(topic, group)}retry`;
}

/** Where the dead letters of a group are kept: one partition, read by the group `redriveGroup`. */
export function deadTopicOf(topic: string, group: string): string {
  return `${internalPrefix(topic, group)}dead`;
}

/** Only this group handles the message; the others settle it unseen. */
export const groupHeader = "tenon-group";
