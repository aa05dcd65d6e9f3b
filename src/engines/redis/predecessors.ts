import type { World } from "../../world/world.ts";
import type { Session } from "./session.ts";

interface Predecessor {
  readonly id: string;
  readonly address: string;
}

/**
 * What was sent over a connection that was given up may still be on its way: held by a router, a proxy, or sent again by the operating system when a
 * network is back. So that it cannot take effect behind what is sent later, each connection begins by ending those before it on the server, which then
 * takes nothing more from them. Not on a cluster, where a client has many connections of its own making.
 */
export class Predecessors {
  readonly #world: World;
  /** Those that may still be open on the server. */
  #open: Predecessor[] = [];
  #told = false;

  constructor(world: World) {
    this.#world = world;
  }

  /** Resolves when the session may be used, and never rejects; it does not resolve when the server does not answer. */
  async succeed(session: Session): Promise<void> {
    if (session.isCluster) return;
    try {
      // An id alone may be somebody else's after the server was restarted.
      const kills = this.#open.map(({ id, address }) =>
        session.send(undefined, ["CLIENT", "KILL", "ID", id, "ADDR", address]),
      );
      const [own] = await Promise.all([session.send(undefined, ["CLIENT", "INFO"]), ...kills]);
      const found = /\bid=(\d+) addr=(\S+)/.exec(String(own));
      // Without an answer nothing has been ended, and nothing will be sent.
      if (found !== null) this.#open = [{ id: found[1]!, address: found[2]! }];
    } catch (error) {
      this.#tell(error);
    }
  }

  /** It may be forbidden, or not be known. */
  #tell(error: unknown): void {
    if (this.#told) return;
    this.#told = true;
    const reason = error instanceof Error ? error.message : String(error);
    this.#world.log.log("info", "Redis does not let connections end their predecessors", { error: reason });
  }
}
