import { setTimeout as sleep } from "node:timers/promises";
import { audit } from "./audit.ts";
import { crashInMidSale, type Killable, plannedCrashes } from "./crashes.ts";
import { demand } from "./demand.ts";
import { planOf } from "./deployment.ts";
import { readDurableState } from "./durable-state.ts";
import { type Ending, Load, type LoadResult } from "./load.ts";
import type { SaleOptions } from "./model.ts";
import { Progress, type ProgressStream } from "./progress.ts";
import type { Outcome } from "./report.ts";
import { SaleProcesses } from "./sale-processes.ts";
import type { SaleStores } from "./stores.ts";

export interface RunOptions extends SaleOptions {
  readonly stores: SaleStores;
  /** Servers that are killed as well when there is a crash. */
  readonly own?: readonly Killable[] | undefined;
  /** Each service in a process of its own. */
  readonly processes: boolean;
  readonly crash: boolean;
  readonly progress: ProgressStream;
  readonly signal: AbortSignal;
}

const settleTimeoutMs = 60_000;

/** One sale from the opening to the audit. The sale's processes have ended when this settles, however it settles. */
export async function run(options: RunOptions): Promise<Outcome> {
  const { stores, own = [] } = options;
  // Whatever fails first ends all the rest.
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const plan = planOf(options.flow, options.processes);
  const processes = await SaleProcesses.start(plan, { stores, options: saleOptions(options) });
  try {
    const purchases = demand(options);
    const load = new Load({ urls: processes.urls, purchases, signal });
    const progress = new Progress(options.progress, load, purchases.length);
    const planned = options.crash ? plannedCrashes(plan, processes, own) : [];
    const note = (text: string) => progress.note(text);
    const [result, crashes] = await Promise.all([
      load.run(),
      crashInMidSale(planned, load, purchases.length, note, signal),
    ]).finally(() => progress.end());
    await untilSettled(processes, signal);
    await processes.stop();
    const state = await readDurableState(stores);
    return {
      options,
      stores,
      processCount: plan.length,
      load: result,
      audit: audit(state, buyersView(options, purchases, result)),
      crashes,
    };
  } catch (error) {
    failed.abort(error);
    throw error;
  } finally {
    await processes.kill();
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

/** Until the last buyer has paid or lost the order, and everybody has heard of it. What is left then, the audit reports. */
async function untilSettled(processes: SaleProcesses, signal: AbortSignal): Promise<void> {
  const giveUpAt = performance.now() + settleTimeoutMs;
  // Two looks, because one look passes over the topics one by one while messages move between them.
  for (let quiet = 0; quiet < 2 && performance.now() < giveUpAt; ) {
    quiet = (await processes.outstanding()) === 0 ? quiet + 1 : 0;
    await sleep(20, undefined, { signal });
  }
}
