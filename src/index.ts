/** What every part of Tenon shares: errors, the World, and the contracts' types. Blocks and engines have entries of their own. */
export * from "./contracts/index.ts";
export * from "./world/index.ts";
