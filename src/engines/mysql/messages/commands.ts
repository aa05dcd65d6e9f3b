import type { MessageCommands } from "../../relational/messages/commands.ts";
import type { Tables } from "../../relational/tables.ts";
import type { Notices } from "../notices.ts";
import { groupCommands } from "./group-commands.ts";
import { laneCommands } from "./lane-commands.ts";
import { partitionCommands } from "./partition-commands.ts";
import { topicCommands } from "./topic-commands.ts";

export function messageCommands(tables: Tables, notices: Notices): MessageCommands {
  return {
    ...topicCommands(tables, notices),
    ...partitionCommands(tables, notices),
    ...groupCommands(tables, notices),
    ...laneCommands(tables),
  };
}
