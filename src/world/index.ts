export { systemWorld } from "./system/system-world.ts";
export type * from "./world.ts";
export { DiskError } from "./world.ts";
