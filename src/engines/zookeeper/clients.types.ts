import { createClient } from "node-zookeeper-client";
import type { ZookeeperClient } from "./clients.ts";

// The real client must fit what is used of it.
createClient("127.0.0.1:2181") satisfies ZookeeperClient;
