import { mkdtempSync, rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A directory for everything that a benchmark stores, so that every peer uses the same disk: below `TENON_BENCH_DIRECTORY`,
 * or the system's temporary directory. Removed when the process ends, also by a signal.
 */
export class Scratch {
  readonly directory: string;

  constructor() {
    this.directory = mkdtempSync(join(process.env.TENON_BENCH_DIRECTORY ?? tmpdir(), "tenon-bench-"));
    process.on("exit", () => rmSync(this.directory, { recursive: true, force: true, maxRetries: 10 }));
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => process.exit(130));
  }

  async make(name: string): Promise<string> {
    const path = join(this.directory, name.replaceAll(/[^A-Za-z0-9]+/g, "-"));
    await mkdir(path, { recursive: true });
    return path;
  }
}
