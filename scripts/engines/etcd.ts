import { urlsAt, wellKnown } from "./addresses.ts";
import type { Engine } from "./engine.ts";

export const etcd: Engine = {
  name: "etcd",
  version: "3.4",
  packages: [{ package: "etcd-server", program: "etcd" }],
  ports: { client: wellKnown.etcd.ports[0]!, peer: 2380 },
  published: ["client"],
  async start(site) {
    const client = `http://127.0.0.1:${site.port("client")}`;
    const peer = `http://127.0.0.1:${site.port("peer")}`;
    const options = {
      name: "tenon",
      "data-dir": site.path("data"),
      "listen-client-urls": client,
      "advertise-client-urls": client,
      "listen-peer-urls": peer,
      "initial-advertise-peer-urls": peer,
      "initial-cluster": `tenon=${peer}`,
    };
    site.start("etcd", {
      command: "etcd",
      parameters: Object.entries(options).map(([name, value]) => `--${name}=${value}`),
    });
    await site.untilReady("etcd", () => askHealth(urlsAt("etcd", [site.port("client")])[0]!), 30_000);
  },
};

/** It is healthy when it has a leader and can write. */
export async function askHealth(url: string): Promise<void> {
  const response = await fetch(new URL("/health", url), { signal: AbortSignal.timeout(2_000) });
  const { health } = (await response.json()) as { health?: string };
  if (health !== "true") throw new Error(`it says that its health is ${health}`);
}
