import type { EtcdFetch } from "./clients.ts";

// Node's own function must fit what is used of it.
fetch satisfies EtcdFetch;
