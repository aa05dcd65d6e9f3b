import type { World } from "../../world/world.ts";
import { Lifetime } from "../shared/lifetime.ts";
import type { KafkaConnection } from "./clients.ts";

/** How long taking leave may take. */
const leaveMs = 200;

/** One connection of the user's for as long as it holds. A request whose answer takes too long ends it. */
export class Session {
  readonly connection: KafkaConnection;
  readonly #world: World;
  readonly #life = new Lifetime();
  #destroyed = false;

  constructor(connection: KafkaConnection, world: World) {
    this.connection = connection;
    this.#world = world;
    connection.on("error", (error) => this.#break(error));
    connection.on("close", () => this.#break(new Error("the connection was closed")));
  }

  get ended(): boolean {
    return this.#life.isOver;
  }

  connect(host: string, port: number, timeoutMs: number): Promise<void> {
    return this.within(timeoutMs, async () => {
      await this.connection.connect(host, port);
    });
  }

  /** Rejects when the connection breaks, or when nothing comes for too long; then it has ended. */
  async within<Answer>(timeoutMs: number, ask: (connection: KafkaConnection) => Promise<Answer>): Promise<Answer> {
    if (this.ended) throw new Error("the connection was lost");
    const cancel = this.#world.timers.schedule(timeoutMs, () => {
      this.#break(new Overdue(timeoutMs));
      this.destroy();
    });
    try {
      return await this.#life.during(ask(this.connection));
    } finally {
      cancel();
    }
  }

  #break(error: Error): void {
    this.#life.end(error);
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
