export { type MemoryDiskOptions, memoryDisk } from "./memory-disk.ts";
export { type SystemWorldOptions, systemWorld } from "./system/system-world.ts";
export type * from "./world.ts";
export { DiskError, NetworkError } from "./world.ts";
