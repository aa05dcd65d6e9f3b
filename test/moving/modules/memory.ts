import { memory } from "tenon/embedded";

export const engine = memory();
