import { randomFillSync, randomUUID } from "node:crypto";
import type { Random } from "../world.ts";

export class SystemRandom implements Random {
  float(): number {
    return Math.random();
  }

  bytes(count: number): Uint8Array {
    return randomFillSync(new Uint8Array(count));
  }

  uuid(): string {
    return randomUUID();
  }
}
