export { idempotent, type MessageName, messageIdentity } from "./idempotent.ts";
export { type Inbox, type InboxOptions, inbox } from "./inbox.ts";
