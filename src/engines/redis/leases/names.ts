import { crc32 } from "node:zlib";

/** Names are spread over so many slots of a cluster. Never change it: the tokens of a name would start anew. */
const slots = 64;

/** The key of a leased name that scripts are given. */
export function keyOf(prefix: string, name: string): string {
  return `${prefix}:{lease-${crc32(name) % slots}}:n:${name}`;
}

/** Where those who watch a name hear that its holders changed. */
export function watchChannelOf(prefix: string, name: string): string {
  return `${prefix}:lease:${name}`;
}

/** A holder as the scripts know it: behind the count of its bytes, so that none begins with another. */
export function ownerOf(holder: string): string {
  return `${Buffer.byteLength(holder)}:${holder}`;
}
