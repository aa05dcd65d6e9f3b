import { setTimeout as sleep } from "node:timers/promises";
import { audit } from "./audit.ts";
import { demand } from "./demand.ts";
import { readDurableState } from "./durable-state.ts";
import { type Ending, Load, type LoadResult } from "./load.ts";
import type { SaleOptions } from "./model.ts";
import { Progress, type ProgressStream } from "./progress.ts";
import type { Outcome } from "./report.ts";
import { SaleChild } from "./sale-child.ts";

export interface RunOptions extends SaleOptions {
  readonly directory: string;
  readonly crash: boolean;
  readonly progress: ProgressStream;
  readonly signal: AbortSignal;
}

/** How much of the load is over when the sale's process is killed. */
const crashFraction = 0.4;
const settleTimeoutMs = 60_000;

/** One sale from the opening to the audit. The sale's process has ended when this settles, however it settles. */
export async function run(options: RunOptions): Promise<Outcome> {
  const start = { directory: options.directory, options: saleOptions(options) };
  let child = await SaleChild.start(start);
  try {
    const purchases = demand(options);
    const load = new Load({ urls: child.urls, purchases, signal: options.signal });
    const progress = new Progress(options.progress, load, purchases.length);
    const loading = load.run();
    // The crash is waited for beside the load; a rejection must not count as unhandled meanwhile.
    loading.catch(() => {});
    let crashMs: number | undefined;
    try {
      if (options.crash) {
        await untilFinished(load, purchases.length * crashFraction, options.signal);
        const killedAt = performance.now();
        await child.kill();
        progress.note("killed the sale's process with SIGKILL; starting it again");
        child = await SaleChild.start({ ...start, ports: child.ports });
        crashMs = performance.now() - killedAt;
        progress.note(`the sale is open again after ${Math.round(crashMs)} ms`);
      }
      await loading;
    } finally {
      progress.end();
    }
    const result = await loading;
    await untilSettled(child, options.signal);
    await child.stop();
    const state = await readDurableState(options.directory);
    return { options, load: result, audit: audit(state, buyersView(options, purchases, result)), crashMs };
  } finally {
    await child.kill();
  }
}

function saleOptions({ requests, stock, buyers, seed, flow }: SaleOptions): SaleOptions {
  return { requests, stock, buyers, seed, flow };
}

function buyersView(options: SaleOptions, purchases: readonly { requestId: string }[], { endings }: LoadResult) {
  const ended = (...wanted: readonly Ending[]) =>
    new Set(purchases.filter((_, index) => wanted.includes(endings[index]!)).map(({ requestId }) => requestId));
  return { stock: options.stock, accepted: ended("accepted"), unanswered: ended("unanswered", "rejected") };
}

async function untilFinished(load: Load, count: number, signal: AbortSignal): Promise<void> {
  while (load.finished < count) await sleep(5, undefined, { signal });
}

/** Until the last buyer has paid or lost the order, and everybody has heard of it. What is left then, the audit reports. */
async function untilSettled(child: SaleChild, signal: AbortSignal): Promise<void> {
  const giveUpAt = performance.now() + settleTimeoutMs;
  // Two looks, because one look passes over the topics one by one while messages move between them.
  for (let quiet = 0; quiet < 2 && performance.now() < giveUpAt; ) {
    quiet = (await child.outstanding()) === 0 ? quiet + 1 : 0;
    await sleep(20, undefined, { signal });
  }
}
