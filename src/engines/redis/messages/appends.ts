import type { Batch, MessageCapabilities } from "../../../contracts/messages.ts";
import { type CheckedBatch, checkBatch } from "../../lanes/batches.ts";
import { topicNotFound } from "../../lanes/errors.ts";
import type { Argument, Connection } from "../connection.ts";
import { addBatch, positionsOf, refusedAppend } from "./batches.ts";
import { type Reply, refusalOf } from "./replies.ts";
import * as scripts from "./scripts/scripts.ts";
import type { Topic, Topics } from "./topics.ts";

/** About so much is sent with one script. */
const callBytesMax = 1024 * 1024;

interface Waiting {
  readonly checked: CheckedBatch;
  readonly resolve: (positions: (bigint | undefined)[]) => void;
  readonly reject: (error: unknown) => void;
  /** The topic that turned out to be gone when it was tried before. */
  gone: Topic | undefined;
}

/**
 * Appending: one script is under way for each partition, and takes what gathered while the one before it was. That keeps the order of
 * the calls whatever the client does when a connection breaks, a slot moves or a server does not know a script.
 */
export class Appends {
  readonly #connection: Connection;
  readonly #topics: Topics;
  readonly #capabilities: MessageCapabilities;
  readonly #queues = new Map<string, Waiting[]>();

  constructor(connection: Connection, topics: Topics, capabilities: MessageCapabilities) {
    this.#connection = connection;
    this.#topics = topics;
    this.#capabilities = capabilities;
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return new Promise((resolve, reject) => {
      const checked = checkBatch(batch, this.#capabilities);
      const waiting: Waiting = { checked, resolve, reject, gone: undefined };
      const name = `${batch.partition}/${batch.topic}`;
      const queue = this.#queues.get(name);
      if (queue !== undefined) {
        queue.push(waiting);
        return;
      }
      const started = [waiting];
      this.#queues.set(name, started);
      void this.#drain(name, started);
    });
  }

  async #drain(name: string, queue: Waiting[]): Promise<void> {
    while (queue.length > 0) {
      const taken = take(queue);
      try {
        await this.#send(taken, queue);
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#queues.delete(name);
  }

  async #send(taken: readonly Waiting[], queue: Waiting[]): Promise<void> {
    const topic = await this.#topics.find(taken[0]!.checked.batch.topic);
    const args: Argument[] = [taken.length];
    for (const { checked } of taken) addBatch(args, 1, checked);
    const answers = (await this.#connection.run(scripts.append, [topic.key], args)) as Reply;
    const again: Waiting[] = [];
    for (let i = 0; i < taken.length; i++) {
      if (!answer(taken[i]!, answers[i], topic)) again.push(taken[i]!);
    }
    if (again.length === 0) return;
    this.#topics.forget(topic);
    queue.unshift(...again);
  }
}

/** `false` when the topic is gone, and another may have its name now. */
function answer(waiting: Waiting, answered: unknown, topic: Topic): boolean {
  const { batch } = waiting.checked;
  const refused = refusedAppend(batch, answered);
  if (refused !== undefined) {
    waiting.reject(refused);
  } else if (Array.isArray(answered) && refusalOf(answered) === "gone") {
    // Looked up anew and gone again: it is not declared and removed faster than this.
    if (waiting.gone === undefined) {
      waiting.gone = topic;
      return false;
    }
    waiting.reject(topicNotFound(batch.topic));
  } else {
    waiting.resolve(positionsOf(batch, answered));
  }
  return true;
}

function take(queue: Waiting[]): Waiting[] {
  let count = 0;
  let bytes = 0;
  for (; count < queue.length; count++) {
    bytes += queue[count]!.checked.bytes;
    if (count > 0 && bytes > callBytesMax) break;
  }
  return queue.splice(0, count);
}
