import { crc32 } from "node:zlib";

/** Names are spread over so many slots of a cluster. Never change it: the tokens of a name would start anew. */
const slots = 64;

/** The keys of a leased name, as the scripts list them. */
export function keysOf(prefix: string, name: string): readonly string[] {
  const base = `${prefix}:{lease-${crc32(name) % slots}}`;
  return [`${base}:n:${name}`, `${base}:q:${name}`, `${base}:token`];
}

/** Where those who watch a name hear that its holders changed. */
export function watchChannelOf(prefix: string, name: string): string {
  return `${prefix}:lease:${name}`;
}
