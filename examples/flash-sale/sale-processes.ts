import type { ProcessPlan } from "./deployment.ts";
import type { SaleStart } from "./sale.ts";
import { SaleChild } from "./sale-child.ts";

/** All processes of a sale, one or many, seen from the parent. */
export class SaleProcesses {
  readonly #children: ReadonlyMap<string, SaleChild>;
  #over = false;

  private constructor(children: ReadonlyMap<string, SaleChild>) {
    this.#children = children;
  }

  /** All at once: what one needs of another waits in a topic. None is left when one of them cannot start. */
  static async start(plan: readonly ProcessPlan[], common: Omit<SaleStart, "roles">): Promise<SaleProcesses> {
    const starts = await Promise.allSettled(plan.map(({ roles }) => SaleChild.start({ ...common, roles })));
    const children = new Map<string, SaleChild>();
    for (const [index, start] of starts.entries()) {
      if (start.status === "fulfilled") children.set(plan[index]!.name, start.value);
    }
    const processes = new SaleProcesses(children);
    const failure = starts.find((start) => start.status === "rejected");
    if (failure === undefined) return processes;
    await processes.kill();
    throw failure.reason;
  }

  /** Of all gateways. */
  get urls(): readonly string[] {
    return [...this.#children.values()].flatMap((child) => child.urls);
  }

  /** Asked of one of them: the topics are the same for all. */
  async outstanding(): Promise<number> {
    const [first] = this.#children.values();
    return (await first?.outstanding()) ?? 0;
  }

  /** Kills one, and starts it again, unless the sale is over meanwhile. */
  async crash(name: string): Promise<void> {
    const child = this.#children.get(name);
    if (child === undefined) throw new Error(`no process of the sale is called ${name}`);
    await child.kill();
    if (!this.#over) await child.startAgain();
  }

  /** From the door inwards, each when those before it have nothing left for it. */
  async stop(): Promise<void> {
    for (const child of [...this.#children.values()].reverse()) await child.stop();
  }

  async kill(): Promise<void> {
    this.#over = true;
    await Promise.all([...this.#children.values()].map((child) => child.kill()));
  }
}
