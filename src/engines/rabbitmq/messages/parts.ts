import type { MessageCapabilities } from "../../../contracts/messages.ts";
import type { World } from "../../../world/world.ts";
import type { RabbitmqQueueOptions } from "../clients.ts";
import type { RabbitmqConnection } from "../connection.ts";
import type { LockedValues } from "../locked-values.ts";
import type { Names } from "../names.ts";
import type { News } from "../news.ts";
import type { Partitions } from "./partitions.ts";

/** What the parts of the messages engine have in common. */
export interface MessageParts {
  readonly world: World;
  readonly capabilities: MessageCapabilities;
  readonly connection: RabbitmqConnection;
  readonly values: LockedValues;
  readonly names: Names;
  readonly news: News;
  readonly partitions: Partitions;
  /** How lasting queues are declared. */
  readonly queue: RabbitmqQueueOptions;
}
