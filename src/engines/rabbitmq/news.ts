import type { LaneNews } from "../lanes/lane-store.ts";
import type { Channel } from "./channel.ts";
import type { RabbitmqConnection } from "./connection.ts";
import type { Names } from "./names.ts";

type Hear = (news: LaneNews) => void;

/** How soon it is tried again to listen. */
const retryMs = 500;

/** What members tell each other: a queue of this process alone, that goes with its connection. Any of it may be lost. */
export class News {
  readonly #connection: RabbitmqConnection;
  readonly #names: Names;
  readonly #hearers = new Map<string, Set<Hear>>();
  readonly #unhear: () => void;
  #channel: Channel | undefined;
  #queue = "";
  #starting: Promise<void> | undefined;
  #isClosed = false;

  constructor(connection: RabbitmqConnection, names: Names) {
    this.#connection = connection;
    this.#names = names;
    this.#unhear = connection.onConnected(() => {
      if (this.#hearers.size > 0) void this.#start();
    });
  }

  /** Tells the others that something changed: of a group (its number), or anything. */
  tell(channel: Channel, key: string, group?: number): void {
    const text = group === undefined ? key : `${key} g${group}`;
    channel.publishQuietly(this.#names.news, key, Buffer.from(text), false);
  }

  /** During an outage it resolves all the same. Answers how to stop. */
  async listen(key: string, hear: Hear): Promise<() => Promise<void>> {
    const hearers = this.#hearers.get(key) ?? new Set();
    const isFirst = hearers.size === 0;
    this.#hearers.set(key, hearers.add(hear));
    if (this.#channel === undefined || this.#channel.isEnded) await this.#start();
    else if (isFirst) await this.#channel.bind(this.#queue, this.#names.news, key).catch(() => this.#restart());
    return async () => {
      hearers.delete(hear);
      if (hearers.size > 0 || this.#hearers.get(key) !== hearers) return;
      this.#hearers.delete(key);
      const channel = this.#channel;
      if (channel?.isEnded === false) {
        await channel.unbind(this.#queue, this.#names.news, key).catch(() => undefined);
      }
    };
  }

  close(): void {
    this.#isClosed = true;
    this.#unhear();
    void this.#channel?.close();
  }

  #start(): Promise<void> {
    this.#starting ??= this.#run().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  #restart(): void {
    if (this.#isClosed) return;
    this.#connection.world.timers.schedule(retryMs, () => {
      if (!this.#isClosed && this.#hearers.size > 0) void this.#start();
    });
  }

  async #run(): Promise<void> {
    try {
      if (this.#channel?.isEnded === false) await this.#channel.close();
      const channel = await this.#connection.channel("listening");
      this.#channel = channel;
      const { queue } = await channel.declareQueue("", { exclusive: true, autoDelete: true, durable: false });
      this.#queue = queue;
      const bound = new Set(this.#hearers.keys());
      for (const key of bound) await channel.bind(queue, this.#names.news, key);
      await channel.consume(
        queue,
        (message) => {
          if (message === null) void channel.close();
          else this.#hear(message.content.toString());
        },
        { noAck: true },
      );
      const former = channel.onEnd;
      channel.onEnd = () => {
        former?.();
        this.#restart();
      };
      // Who came meanwhile.
      for (const key of this.#hearers.keys()) if (!bound.has(key)) await channel.bind(queue, this.#names.news, key);
      for (const hearers of this.#hearers.values()) for (const hear of hearers) hear("missed");
    } catch (error) {
      this.#connection.world.log.log("debug", "listening to news failed; it is repeated", { error: String(error) });
      this.#restart();
    }
  }

  /** `KEY gNUMBER`: something of the group changed; `KEY`: anything. */
  #hear(text: string): void {
    const [key = "", what = ""] = text.split(" ");
    const news: LaneNews = what.startsWith("g") ? { group: Number(what.slice(1)) } : "missed";
    for (const hear of this.#hearers.get(key) ?? []) hear(news);
  }
}
