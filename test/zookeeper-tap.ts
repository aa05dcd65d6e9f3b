/** The network to ZooKeeper with an ear on it: which requests are sent, and transactions that are kept until they are let go. */
import type { Connection, Network } from "tenon/world";
import { types } from "../src/engines/zookeeper/protocol.ts";

export class ZookeeperTap {
  readonly #network: Network;
  readonly #kept: (() => void)[] = [];
  #keeps = false;
  #wake: () => void = () => undefined;
  /** The types of requests in their order, without those that keep a session alive. */
  readonly sent: number[] = [];

  constructor(network: Network) {
    this.#network = network;
  }

  readonly connect: Network["connect"] = async (address, how) => {
    const connection = await this.#network.connect(address, how);
    let isBegun = false;
    const tapped: Connection = {
      remote: connection.remote,
      read: () => connection.read(),
      close: () => connection.close(),
      destroy: () => connection.destroy(),
      write: async (bytes) => {
        // The first frame is no request.
        if (isBegun) await this.#pass(Buffer.from(bytes).readInt32BE(8));
        isBegun = true;
        return connection.write(bytes);
      },
    };
    return tapped;
  };

  async #pass(type: number): Promise<void> {
    if (type !== types.ping) this.sent.push(type);
    if (!this.#keeps || type !== types.multi) return;
    await new Promise<void>((resolve) => {
      this.#kept.push(resolve);
      this.#wake();
    });
  }

  /** Transactions are kept from now on. */
  keep(): void {
    this.#keeps = true;
  }

  /** One that was kept, or will be, goes on its way; later ones are kept. */
  async letOneGo(): Promise<void> {
    await this.untilKept();
    this.#kept.shift()!();
  }

  async untilKept(): Promise<void> {
    while (this.#kept.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  letAllGo(): void {
    this.#keeps = false;
    for (const go of this.#kept.splice(0)) go();
  }
}
