import { writeFileSync } from "node:fs";
import { urlsAt, wellKnown } from "./addresses.ts";
import type { Engine } from "./engine.ts";
import { converse } from "./exchange.ts";

export const nats: Engine = {
  name: "nats",
  version: "2.9",
  packages: [{ package: "nats-server", program: "nats-server" }],
  ports: { nats: wellKnown.nats.ports[0]! },
  published: ["nats"],
  async start(site) {
    const configuration = [
      `listen: "127.0.0.1:${site.port("nats")}"`,
      `jetstream { store_dir: ${JSON.stringify(site.path("data"))} }`,
      `authorization { user: tenon, password: tenon }`,
    ];
    writeFileSync(site.path("nats.conf"), `${configuration.join("\n")}\n`);
    site.start("nats", { command: "nats-server", parameters: ["--config", site.path("nats.conf")] });
    await site.untilReady("nats", () => askJetStream(urlsAt("nats", [site.port("nats")])[0]!), 20_000);
  },
};

/** Logs in and asks for the account's JetStream, which only answers where it is enabled. */
export function askJetStream(url: string): Promise<void> {
  const { username, password } = new URL(url);
  return converse(url, async (exchange) => {
    await exchange.receive(wholeLine);
    const options = {
      verbose: false,
      pedantic: false,
      user: decodeURIComponent(username),
      pass: decodeURIComponent(password),
    };
    exchange.send(`CONNECT ${JSON.stringify(options)}\r\nSUB answer 1\r\nPUB $JS.API.INFO answer 0\r\n\r\nPING\r\n`);
    await exchange
      .receive((bytes) => {
        const text = bytes.toString();
        if (text.includes("-ERR")) throw new Error(text.slice(text.indexOf("-ERR")).split("\r\n")[0]);
        // Where nobody answers the pong comes alone, or a moment before the answer: so only the answer counts.
        return /"limits"|"error"/.exec(text)?.[0];
      })
      .then((found) => {
        if (found !== '"limits"') throw new Error("JetStream is not enabled for this user");
      });
  });
}

function wholeLine(bytes: Buffer): true | undefined {
  return bytes.includes("\r\n") ? true : undefined;
}
