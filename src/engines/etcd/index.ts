export type { EtcdFetch, EtcdFetchRequest, EtcdFetchResponse } from "./clients.ts";
export { type EtcdOptions, etcd } from "./etcd.ts";
export type { EtcdEngine } from "./etcd-engine.ts";
export type { Requirement, Survives } from "./requirements.ts";
