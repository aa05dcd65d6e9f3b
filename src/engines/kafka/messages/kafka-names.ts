import type { LaterPlace } from "../../lanes/index.ts";

/** Kafka takes no longer ones. */
const lengthMax = 249;
/** Two topics of one name for Kafka are told apart by a number. */
const alternatives = 5;

/** Names for a topic in Kafka, in the order of trying: its own name where Kafka can have that, else one that is made of it. */
export function kafkaNamesOf(prefix: string, name: string): readonly string[] {
  const escaped = name.replace(/[^A-Za-z0-9._-]/gu, (character) => `_${Buffer.from(character).toString("hex")}`);
  const plain = `${prefix}.${escaped}`.slice(0, lengthMax);
  const others = Array.from({ length: alternatives }, (_, index) => `${plain.slice(0, lengthMax - 2)}-${index + 2}`);
  return [plain, ...others];
}

/** Topics of users have a dot behind the prefix. */
export function laterKafkaName(prefix: string, { topic, level }: LaterPlace): string {
  return `${prefix}_later.${topic}-${level}`;
}
