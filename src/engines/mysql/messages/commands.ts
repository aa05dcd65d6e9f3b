import type { MessageCommands } from "../../relational/messages/commands.ts";
import type { Tables } from "../../relational/tables.ts";
import type { Notices } from "../notices.ts";
import { appendingNext } from "./append-next.ts";
import { groupCommands } from "./group-commands.ts";
import { laneCommands } from "./lane-commands.ts";
import { partitionCommands } from "./partition-commands.ts";
import { topicCommands } from "./topic-commands.ts";

/** `blocks`: whether the server carries them. */
export function messageCommands(tables: Tables, notices: Notices, blocks: boolean): MessageCommands {
  return {
    ...(blocks && { appendNext: appendingNext(tables, notices) }),
    ...topicCommands(tables, notices),
    ...partitionCommands(tables, notices),
    ...groupCommands(tables, notices),
    ...laneCommands(tables),
  };
}
