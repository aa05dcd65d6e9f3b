import { mkdirSync, writeFileSync } from "node:fs";
import { urlsAt, wellKnown } from "./addresses.ts";
import { logIn } from "./amqp.ts";
import type { Engine } from "./engine.ts";

const user = "rabbitmq";

export const rabbitmq: Engine = {
  name: "rabbitmq",
  version: "3.10",
  // Debian's own program wants to be root, and runs this one as its user.
  packages: [{ package: "rabbitmq-server", program: "/usr/lib/rabbitmq/bin/rabbitmq-server" }],
  ports: { amqp: wellKnown.rabbitmq.ports[0]!, names: 4369, distribution: 25_672 },
  published: ["amqp"],
  user,
  async start(site) {
    const configuration = [
      `listeners.tcp.1 = 127.0.0.1:${site.port("amqp")}`,
      "default_user = tenon",
      "default_pass = tenon",
      "default_user_tags.administrator = true",
      "loopback_users = none",
      "disk_free_limit.absolute = 100MB",
      "log.console = true",
      "log.console.level = info",
      "log.file = false",
    ];
    writeFileSync(site.path("rabbitmq.conf"), `${configuration.join("\n")}\n`);
    writeFileSync(site.path("enabled_plugins"), "[].\n");
    writeFileSync(site.path("environment.conf"), "");
    const environment = {
      // Where Erlang keeps the secret that its nodes share.
      HOME: site.directory,
      ERL_EPMD_PORT: String(site.port("names")),
      ERL_EPMD_ADDRESS: "127.0.0.1",
      RABBITMQ_NODENAME: "tenon@localhost",
      RABBITMQ_CONFIG_FILE: site.path("rabbitmq.conf"),
      RABBITMQ_CONF_ENV_FILE: site.path("environment.conf"),
      RABBITMQ_ENABLED_PLUGINS_FILE: site.path("enabled_plugins"),
      RABBITMQ_MNESIA_BASE: site.path("data"),
      RABBITMQ_LOG_BASE: site.path("logs"),
      RABBITMQ_PID_FILE: site.path("rabbitmq.pid"),
      RABBITMQ_DIST_PORT: String(site.port("distribution")),
      // Its schedulers would otherwise spin for work that other servers here have to do.
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
    };
    // Erlang's nodes find each other through this. One of our own, or RabbitMQ would leave one behind.
    site.start("names", {
      command: "epmd",
      parameters: ["-port", String(site.port("names")), "-address", "127.0.0.1"],
      user,
    });
    for (const folder of ["data", "logs"]) mkdirSync(site.path(folder), { recursive: true });
    site.giveTo(user);
    await site.untilReady("names", () => site.run({ command: "epmd", parameters: ["-names"], environment }), 10_000);
    site.start("rabbitmq", { command: "/usr/lib/rabbitmq/bin/rabbitmq-server", parameters: [], environment, user });
    await site.untilReady("rabbitmq", () => logIn(urlsAt("rabbitmq", [site.port("amqp")])[0]!), 90_000);
  },
};
