import type { World } from "../../world/world.ts";
import type { KafkaConnection } from "./clients.ts";

/** How long taking leave may take. */
const leaveMs = 200;

/** One connection of the user's for as long as it holds. A request whose answer takes too long ends it. */
export class Session {
  readonly connection: KafkaConnection;
  readonly #world: World;
  /** Those who wait for an answer. */
  readonly #waiting = new Set<(error: Error) => void>();
  /** It is over. */
  ended = false;
  #destroyed = false;

  constructor(connection: KafkaConnection, world: World) {
    this.connection = connection;
    this.#world = world;
    connection.on("error", (error) => this.#break(error));
    connection.on("close", () => this.#break(new Error("the connection was closed")));
  }

  connect(host: string, port: number, timeoutMs: number): Promise<void> {
    return this.within(timeoutMs, async () => {
      await this.connection.connect(host, port);
    });
  }

  /** Rejects when the connection breaks, or when nothing comes for too long; then it has ended. */
  async within<Answer>(timeoutMs: number, ask: (connection: KafkaConnection) => Promise<Answer>): Promise<Answer> {
    if (this.ended) throw new Error("the connection was lost");
    // A race with one promise for the whole session would keep every answer for as long as it lasts.
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const cancel = this.#world.timers.schedule(timeoutMs, () => {
      this.#break(new Overdue(timeoutMs));
      this.destroy();
    });
    this.#waiting.add(reject);
    try {
      // What it throws by itself ends the waiting, too.
      ask(this.connection).then(resolve, reject);
      return await promise;
    } finally {
      cancel();
      this.#waiting.delete(reject);
    }
  }

  #break(error: Error): void {
    this.ended = true;
    for (const reject of this.#waiting) reject(error);
  }

  /** Ends it without waiting for anything. */
  destroy(): void {
    this.#break(new Error("the connection was closed"));
    if (this.#destroyed) return;
    this.#destroyed = true;
    const cancel = this.#world.timers.schedule(leaveMs, () => this.connection.socket?.destroy());
    this.connection.close().then(cancel, () => undefined);
  }
}

/** The server did not answer in time. */
export class Overdue extends Error {
  readonly timeoutMs: number;
  constructor(timeoutMs: number) {
    super(`the server did not answer within ${timeoutMs} ms`);
    this.timeoutMs = timeoutMs;
  }
}
