import { type BenchmarkOptions, UsageError } from "./options.ts";

export async function flashSale(_: BenchmarkOptions): Promise<number> {
  throw new UsageError("the flash sale is not there yet");
}
