export type { ZookeeperAcl } from "./protocol.ts";
export type { Requirement, Survives } from "./requirements.ts";
export type { Credentials } from "./session.ts";
export { type ZookeeperOptions, zookeeper } from "./zookeeper.ts";
export type { ZookeeperEngine } from "./zookeeper-engine.ts";
