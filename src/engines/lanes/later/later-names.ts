import { TenonError } from "../../../contracts/errors.ts";

const prefix = "\0later/";
/** Of the only group that such a topic has. */
export const keeperGroup = "keepers";

/** Which topic a topic of delayed messages belongs to, by the number that its engine never gives again, and the level of it. */
export interface LaterPlace {
  readonly topic: number;
  readonly level: number;
}

/** The name of a topic that lies hidden beside another one. */
export function laterName({ topic, level }: LaterPlace): string {
  return `${prefix}${topic}/${level}`;
}

/** `undefined`: it is a user's. */
export function laterPlaceOf(name: string): LaterPlace | undefined {
  if (!name.startsWith(prefix)) return undefined;
  const [topic, level] = name.slice(prefix.length).split("/");
  return { topic: Number(topic), level: Number(level) };
}

/** `invalid`: users' topics are not called so. */
export function refuseLaterName(name: string): void {
  if (!name.startsWith(prefix)) return;
  const text = `a topic name does not begin with ${JSON.stringify(prefix)} on this engine, which keeps delayed messages so; take another name`;
  throw new TenonError("invalid", text);
}
