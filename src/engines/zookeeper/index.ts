export type { ZookeeperAcl, ZookeeperClient, ZookeeperStat, ZookeeperTransaction } from "./clients.ts";
export type { Requirement, Survives } from "./requirements.ts";
export { type ZookeeperOptions, zookeeper } from "./zookeeper.ts";
export type { ZookeeperEngine } from "./zookeeper-engine.ts";
