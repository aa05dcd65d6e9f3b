import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { SaleStart } from "./sale.ts";
import type { SaleCommand, SaleReply } from "./sale-process.ts";

const modulePath = fileURLToPath(new URL("./sale-process.ts", import.meta.url));

/** The sale in a process of its own, seen from the parent. It never outlives the parent. */
export class SaleChild {
  readonly #process: ChildProcess;
  readonly #exited: Promise<unknown>;
  readonly ports: readonly number[];

  private constructor(process: ChildProcess, exited: Promise<unknown>, ports: readonly number[]) {
    this.#process = process;
    this.#exited = exited;
    this.ports = ports;
  }

  static async start(start: SaleStart): Promise<SaleChild> {
    const child = fork(modulePath, {
      execArgv: ["--conditions=source"],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const exited = once(child, "exit");
    const reply = await ask(child, exited, { type: "start", start });
    if (reply.type !== "started") throw new Error(`the sale's process answered ${reply.type} to start`);
    return new SaleChild(child, exited, reply.ports);
  }

  get urls(): readonly string[] {
    return this.ports.map((port) => `http://127.0.0.1:${port}/purchase`);
  }

  async outstanding(): Promise<number> {
    const reply = await ask(this.#process, this.#exited, { type: "outstanding" });
    return reply.type === "outstanding" ? reply.count : 0;
  }

  /** Ends it in order and waits until its process is gone. */
  async stop(): Promise<void> {
    await ask(this.#process, this.#exited, { type: "stop" });
    this.#process.disconnect();
    await this.#exited;
  }

  /** Ends it as a power cut would end its memory: SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }
}

async function ask(child: ChildProcess, exited: Promise<unknown>, command: SaleCommand): Promise<SaleReply> {
  const replied = once(child, "message");
  child.send(command);
  const [reply] = (await Promise.race([
    replied,
    exited.then(() => Promise.reject(new Error(`the sale's process ended before it answered ${command.type}`))),
  ])) as [SaleReply];
  return reply;
}
