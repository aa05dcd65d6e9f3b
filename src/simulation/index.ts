export type { CrashOutcome, OperationKind, PlannedFault } from "./fault-plan.ts";
export type { DiskLatency } from "./simulated-disk.ts";
export type { FaultOptions, SimulatedDiskControl } from "./simulated-disk-control.ts";
export { SimulatedCrash, type Simulation, type SimulationOptions, simulatedWorld } from "./simulation.ts";
