import { type Network, NetworkError } from "../world/world.ts";
import { calmNetwork, type NetworkSettings, type SimulatedNetworkControl } from "./network-control.ts";
export class SimulatedNetwork {
  readonly control: SimulatedNetworkControl;
  constructor(parts: {
    readonly timeLine: unknown;
    readonly generator: unknown;
    readonly settings?: NetworkSettings | undefined;
  }) {
    this.control = {
      settings: parts.settings ?? calmNetwork,
      block() {},
      unblock() {},
      partition() {},
      isolate() {},
      heal() {},
      connections: [],
      cut() {},
    };
  }
  of(_host: string, _process: unknown): Network {
    const fail = async (address: { host: string; port: number }): Promise<never> => {
      throw new NetworkError("unreachable", address, "no network yet");
    };
    return { listen: fail, connect: fail };
  }
}
