import { randomUUID } from "node:crypto";

/** For the tables of one test. */
export function testPrefix(): string {
  return `tenon_test_${randomUUID().replaceAll("-", "").slice(0, 16)}`;
}
