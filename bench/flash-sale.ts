import { fork } from "node:child_process";
import { once } from "node:events";
import { demand, type Purchase } from "../examples/flash-sale/demand.ts";
import { planOf } from "../examples/flash-sale/deployment.ts";
import { Load, percentile } from "../examples/flash-sale/load.ts";
import type { SaleOptions } from "../examples/flash-sale/model.ts";
import { SaleProcesses } from "../examples/flash-sale/sale-processes.ts";
import { embeddedStores } from "../examples/flash-sale/stores.ts";
import { endWithThisProcess } from "./children.ts";
import type { Row } from "./harness.ts";
import type { BenchmarkOptions } from "./options.ts";
import { environmentOf, printRows, printVerdicts, writeJson } from "./report.ts";
import { judgeRatio, type RequiredRatio } from "./requirements.ts";
import { Scratch } from "./scratch.ts";

const BARE = "node:http that answers ok";
const SALE = "flash sale";
const DECIDED = "purchases decided over HTTP";
const REQUESTS = 50_000;
const REQUESTS_QUICK = 10_000;

const REQUIRED: RequiredRatio = { scenario: DECIDED, ours: SALE, theirs: BARE, atLeast: 0.35 };

/** What one load got from one server. Requests that the sale's limiter refused do not count as decided. */
interface Round {
  readonly decidedPerSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** The whole sale, from its cold start, against a bare server under the same load: every purchase as soon as a connection is free. */
export async function flashSale({ rounds, quick, jsonPath }: BenchmarkOptions): Promise<number> {
  const scratch = new Scratch();
  const requests = quick ? REQUESTS_QUICK : REQUESTS;
  const sale: SaleOptions = { requests, stock: requests / 25, buyers: requests / 5, seed: 1, flow: "queue" };
  const purchases = demand(sale);
  await loadBareServer(purchases.slice(0, REQUESTS_QUICK)); // Warms the load generator up.
  const bare: Round[] = [];
  const sold: Round[] = [];
  for (let round = 0; round < rounds; round++) {
    bare.push(await loadBareServer(purchases));
    sold.push(await loadSale(await scratch.make(`sale ${round}`), sale, purchases));
  }
  const rows = [...rowsOf(BARE, "nothing", bare), ...rowsOf(SALE, "machine", sold)];
  printRows(rows, { floor: BARE, ours: SALE });
  const verdicts = [judgeRatio(REQUIRED, rows)];
  const holds = printVerdicts(verdicts);
  const environment = await environmentOf(scratch.directory);
  await writeJson("flash-sale", jsonPath, { environment, rounds, quick, requests, rows, verdicts });
  return holds ? 0 : 1;
}

async function loadBareServer(purchases: readonly Purchase[]): Promise<Round> {
  const child = endWithThisProcess(fork(new URL("./bare-http-server.ts", import.meta.url)));
  const [port] = (await once(child, "message")) as [number];
  try {
    return await loadServer([`http://127.0.0.1:${port}/purchase`], purchases);
  } finally {
    child.kill("SIGKILL");
  }
}

async function loadSale(directory: string, options: SaleOptions, purchases: readonly Purchase[]): Promise<Round> {
  const processes = await SaleProcesses.start(planOf("queue", false), { stores: embeddedStores(directory), options });
  try {
    return await loadServer(processes.urls, purchases);
  } finally {
    await processes.kill();
  }
}

async function loadServer(urls: readonly string[], purchases: readonly Purchase[]): Promise<Round> {
  const { counts, latenciesMs, durationMs } = await new Load({ urls, purchases, immediately: true }).run();
  if (counts.unanswered + counts.rejected + counts.expired > 0) {
    const { unanswered, rejected, expired } = counts;
    throw new Error(
      `of ${purchases.length} requests ${unanswered} got no answer, ${rejected} a wrong one, ${expired} one too late`,
    );
  }
  return {
    decidedPerSecond: ((purchases.length - counts.limited) / durationMs) * 1_000,
    p50Ms: percentile(latenciesMs, 0.5),
    p99Ms: percentile(latenciesMs, 0.99),
  };
}

function rowsOf(peer: string, survives: Row["survives"], rounds: readonly Round[]): readonly Row[] {
  const row = (scenario: string, unit: Row["unit"], figures: readonly number[]): Row => {
    return { scenario, unit, peer, survives, rounds: figures };
  };
  return [
    row(
      DECIDED,
      "per second",
      rounds.map((round) => round.decidedPerSecond),
    ),
    row(
      "time to the answer, p50",
      "ms",
      rounds.map((round) => round.p50Ms),
    ),
    row(
      "time to the answer, p99",
      "ms",
      rounds.map((round) => round.p99Ms),
    ),
  ];
}
