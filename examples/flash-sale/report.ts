import type { Audit } from "./audit.ts";
import type { Crash } from "./crashes.ts";
import { type LoadResult, percentile } from "./load.ts";
import type { SaleOptions } from "./model.ts";
import { describeStores, type SaleStores } from "./stores.ts";

export interface Outcome {
  readonly options: SaleOptions;
  readonly stores: SaleStores;
  readonly processCount: number;
  readonly load: LoadResult;
  readonly audit: Audit;
  /** What was killed in mid-sale, in that order. */
  readonly crashes: readonly Crash[];
}

/** The object that `--json` prints. `requests` is the sum of `accepted`, `soldOut`, `limited` and `failed`. */
export interface Summary {
  readonly requests: number;
  readonly accepted: number;
  readonly soldOut: number;
  readonly limited: number;
  readonly failed: number;
  readonly stock: number;
  readonly sold: number;
  readonly orders: number;
  readonly cancelled: number;
  readonly oversold: number;
  readonly lost: number;
  readonly duplicated: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly requestsPerSecond: number;
}

export function summarize({ options, load, audit }: Outcome): Summary {
  const { counts, latenciesMs } = load;
  return {
    requests: load.endings.length,
    accepted: counts.accepted,
    soldOut: counts["sold-out"],
    limited: counts.limited,
    failed: counts["already-bought"] + counts.denied + counts.expired + counts.unanswered + counts.rejected,
    stock: options.stock,
    sold: audit.sold,
    orders: audit.orders,
    cancelled: audit.cancelled,
    oversold: audit.oversold,
    lost: audit.lost,
    duplicated: audit.duplicated,
    p50Ms: rounded(percentile(latenciesMs, 0.5)),
    p99Ms: rounded(percentile(latenciesMs, 0.99)),
    requestsPerSecond: Math.round((load.endings.length / load.durationMs) * 1_000),
  };
}

/** The report for a person. */
export function reportText(outcome: Outcome): string {
  const { options, load, audit, crashes, processCount } = outcome;
  const summary = summarize(outcome);
  const { counts } = load;
  const lines = [
    "",
    `Flash sale: ${options.flow} flow, seed ${options.seed}, ${processCount === 1 ? "one process" : `${processCount} processes`}, ${describeStores(outcome.stores)}`,
    line("requests", summary.requests, load.retries === 0 ? "" : `${figure(load.retries)} sent again with the same id`),
    line("accepted", summary.accepted),
    line("sold out", summary.soldOut),
    line("limited", summary.limited),
    line("failed", summary.failed, failures(counts)),
    "",
    `  answers       p50 ${summary.p50Ms} ms, p99 ${summary.p99Ms} ms, max ${rounded(load.latenciesMs.at(-1) ?? 0)} ms`,
    line("throughput", summary.requestsPerSecond, "requests per second"),
  ];
  for (const { name, backMs } of crashes) {
    lines.push(`  crash         ${name} killed in mid-sale, back after ${Math.round(backMs)} ms`);
  }
  lines.push(
    "",
    "Orders, as found in the stores",
    line("stock", summary.stock),
    line("orders", summary.orders),
    line("sold", summary.sold),
    line("cancelled", summary.cancelled, `${figure(audit.refunded)} paid too late and refunded`),
    "",
    "Audit",
    ...audit.checks.map((check) => `  ${check.holds ? "ok    " : "FAILED"}  ${check.name} (${check.detail})`),
    "",
    audit.holds
      ? "The audit holds: nothing oversold, nothing lost, nothing twice."
      : `The audit FAILED: ${audit.oversold} oversold, ${audit.lost} lost, ${audit.duplicated} duplicated.`,
  );
  return lines.join("\n");
}

function failures(counts: LoadResult["counts"]): string {
  const parts = [
    [counts["already-bought"], "had bought before"],
    [counts.denied, "denied by the risk check"],
    [counts.expired, "past their deadline"],
    [counts.unanswered, "never answered"],
    [counts.rejected, "rejected"],
  ] as const;
  return parts
    .filter(([count]) => count > 0)
    .map(([count, reason]) => `${figure(count)} ${reason}`)
    .join(", ");
}

function line(name: string, count: number, remark = ""): string {
  return `  ${name.padEnd(12)}${figure(count).padStart(9)}${remark === "" ? "" : `  ${remark}`}`;
}

function figure(count: number): string {
  return count.toLocaleString("en-US");
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
