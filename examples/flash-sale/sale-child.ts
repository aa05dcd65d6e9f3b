import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { SaleStart } from "./sale.ts";
import type { SaleCommand, SaleReply } from "./sale-process.ts";

const modulePath = fileURLToPath(new URL("./sale-process.ts", import.meta.url));

/** A process of the sale, seen from the parent. It never outlives the parent. */
export class SaleChild {
  readonly #start: SaleStart;
  #process: ChildProcess;
  #exited: Promise<unknown>;
  #ports: readonly number[] = [];

  private constructor(start: SaleStart) {
    this.#start = start;
    this.#process = forkSale();
    this.#exited = once(this.#process, "exit");
  }

  static async start(start: SaleStart): Promise<SaleChild> {
    const child = new SaleChild(start);
    await child.#open();
    return child;
  }

  /** Of its gateways, if it runs any. */
  get urls(): readonly string[] {
    return this.#ports.map((port) => `http://127.0.0.1:${port}/purchase`);
  }

  async outstanding(): Promise<number> {
    const reply = await this.#ask({ type: "outstanding" });
    return reply.type === "outstanding" ? reply.count : 0;
  }

  /** Ends it in order and waits until its process is gone. */
  async stop(): Promise<void> {
    await this.#ask({ type: "stop" });
    this.#process.disconnect();
    await this.#exited;
  }

  /** Ends it as a power cut would end its memory: SIGKILL, and waits until it is gone. */
  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }

  /** After `kill`: the same services again, at the same addresses. */
  async startAgain(): Promise<void> {
    this.#process = forkSale();
    this.#exited = once(this.#process, "exit");
    await this.#open();
  }

  async #open(): Promise<void> {
    const start = this.#ports.length === 0 ? this.#start : { ...this.#start, ports: this.#ports };
    const reply = await this.#ask({ type: "start", start });
    if (reply.type !== "started") throw new Error(`a process of the sale answered ${reply.type} to start`);
    this.#ports = reply.ports;
  }

  async #ask(command: SaleCommand): Promise<SaleReply> {
    const process = this.#process;
    const replied = once(process, "message");
    process.send(command);
    const [reply] = (await Promise.race([
      replied,
      this.#exited.then(() =>
        Promise.reject(new Error(`a process of the sale ended before it answered ${command.type}`)),
      ),
    ])) as [SaleReply];
    return reply;
  }
}

function forkSale(): ChildProcess {
  return fork(modulePath, {
    execArgv: ["--conditions=source"],
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
}
