import { TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import type { JetStream, StreamConfig, StreamInfo } from "./jet-stream.ts";

/** Of what the streams hold; another one is another layout. */
export const layoutVersion = 1;

/** How often, and how far apart, it is tried to make a stream whose subjects are taken. */
const triesMax = 20;
const againMs = 50;

const producersAgeMs = 7 * 24 * 3_600_000;

/** The names of an engine's streams, and what their subjects begin with. */
export interface Streams {
  readonly prefix: string;
  /** Messages: `PREFIX.r.TOPIC.PARTITION`. */
  readonly runs: string;
  /** Delayed messages until they are due: `PREFIX.d.TOPIC.PARTITION.DUE.SEQUENCE.INDEX`. */
  readonly delayed: string;
  /** Records of logs: `PREFIX.l.LOG.PARTITION`. */
  readonly logs: string;
  /** Topics, groups, lanes, logs, writers, readers, each a value: `PREFIX.s.…`. */
  readonly state: string;
  /** The highest epoch of each producer: `PREFIX.e.TOPIC.PRODUCER`, or `PREFIX.e.LOG.PRODUCER`. */
  readonly producers: string;
  /** Key-values: `PREFIX.k.…`. */
  readonly keys: string;
}

export function streamsOf(prefix: string): Streams {
  if (!/^[A-Za-z0-9_-]{1,48}$/.test(prefix)) {
    const text = `the prefix of a NATS engine is 1 to 48 letters, digits, hyphens and underscores, not ${JSON.stringify(prefix)}`;
    throw new TenonError("invalid", text);
  }
  const name = (part: string) => `${prefix}_${part}`;
  return {
    prefix,
    runs: name("runs"),
    delayed: name("delayed"),
    logs: name("logs"),
    state: name("state"),
    producers: name("producers"),
    keys: name("keys"),
  };
}

/**
 * The streams that an engine with this prefix needs, as JetStream's `STREAM.CREATE` takes them, for whoever makes streams by other means than the option `streams: "make"`. Sizes may be limited
 * (`max_bytes`, with `discard` as it is here): a full stream refuses, and drops nothing.
 */
export function natsStreams(prefix = "tenon", replicas = 1): readonly StreamConfig[] {
  const names = streamsOf(prefix);
  const stream = (name: string, letter: string, what: string, more: Partial<StreamConfig>): StreamConfig => ({
    name,
    subjects: [`${prefix}.${letter}.>`],
    description: `Tenon ${layoutVersion}: ${what}`,
    storage: "file",
    retention: "limits",
    discard: "new",
    num_replicas: replicas,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_msgs_per_subject: 1,
    allow_direct: true,
    ...more,
  });
  return [
    stream(names.runs, "r", "messages", { max_msgs_per_subject: -1 }),
    stream(names.delayed, "d", "delayed messages", {}),
    stream(names.logs, "l", "records of logs", { max_msgs_per_subject: -1 }),
    stream(names.state, "s", "topics, groups, lanes, logs, writers, readers", {}),
    stream(names.producers, "e", "epochs of producers", { max_age: producersAgeMs * 1_000_000, discard: "old" }),
    stream(names.keys, "k", "key-values", {}),
  ];
}

/** Reads the engine's streams, makes those that are missing where it may, and refuses those that would not do. */
export async function openStreams(
  jetStream: JetStream,
  world: World,
  options: { readonly prefix: string; readonly replicas: number; readonly make: boolean },
): Promise<readonly StreamInfo[]> {
  const opened: StreamInfo[] = [];
  for (const config of natsStreams(options.prefix, options.replicas)) {
    let info = await jetStream.info("looking for a stream", config.name);
    if (info === undefined && options.make) info = await made(jetStream, world, config);
    if (info === undefined) {
      const text = `The stream ${config.name} is not there. Make it with the option streams: "make", or as natsStreams() says.`;
      throw new TenonError("not-found", text, { fields: { stream: config.name } });
    }
    checkStream(config, info.config);
    jetStream.setReplicated(config.name, (info.config.num_replicas ?? 1) > 1);
    opened.push(info);
  }
  return opened;
}

/**
 * Engines that start together make the same streams. A server (2.9, at least) to which several of them come at once may know the subjects of the stream before its name, and then refuses all but
 * one, as if another stream had them.
 */
async function made(jetStream: JetStream, world: World, config: StreamConfig): Promise<StreamInfo> {
  for (let tries = 0; tries < triesMax; tries++) {
    const info =
      (await jetStream.makeStream("making a stream", config)) ??
      (await jetStream.info("looking for a stream", config.name));
    if (info !== undefined) return info;
    await world.timers.sleep(againMs);
  }
  const text = `Another stream has subjects of ${config.subjects.join(", ")}, which the stream ${config.name} needs. Remove it, or use another prefix.`;
  throw new TenonError("conflict", text, { fields: { stream: config.name } });
}

function checkStream(needed: StreamConfig, found: StreamConfig): void {
  const fields = { stream: needed.name };
  const said = found.description ?? "";
  if (!said.startsWith(`Tenon ${layoutVersion}:`)) {
    const text = `The stream ${needed.name} is not one of this engine's version ${layoutVersion}: its description is ${JSON.stringify(said)}. Use another prefix, or the release of Tenon that made it.`;
    throw new TenonError("conflict", text, { fields });
  }
  for (const setting of [
    "retention",
    "discard",
    "max_msgs_per_subject",
    "max_age",
    "max_msgs",
    "allow_direct",
  ] as const) {
    if ((found[setting] ?? false) === (needed[setting] ?? false)) continue;
    const text = `The stream ${needed.name} has ${setting} ${found[setting]}, and would lose or refuse what it must keep; set it to ${needed[setting]}.`;
    throw new TenonError("conflict", text, { fields: { ...fields, setting } });
  }
  if (needed.subjects.every((subject) => found.subjects.includes(subject))) return;
  throw new TenonError("conflict", `The stream ${needed.name} lacks the subjects ${needed.subjects.join(", ")}.`, {
    fields,
  });
}
