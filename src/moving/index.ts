export { TenonError } from "../contracts/errors.ts";
export type { MessagingEngine } from "./engines.ts";
export type { MoveStage } from "./move-note.ts";
export { type MoveOptions, type MoveReport, moveTopic } from "./move-topic.ts";
export { type MovingEngine, type MovingOptions, moving } from "./moving.ts";
export type { MoveProgress } from "./topic-move.ts";
