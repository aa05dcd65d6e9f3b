import type { MessageCase } from "../conformance-case.ts";
import { administrationCases } from "./administration.ts";
import { appendCases } from "./appending.ts";
import { closingCases } from "./closing.ts";
import { crashCases } from "./crashes.ts";
import { delayCases } from "./delays.ts";
import { duplicateCases } from "./duplicates.ts";
import { ephemeralCases } from "./ephemeral.ts";
import { grantCases } from "./grants.ts";
import { laneCases } from "./lanes.ts";
import { positionCases } from "./positions.ts";
import { roomCases } from "./room.ts";
import { sealCases } from "./sealing.ts";
import { topicCases } from "./topics.ts";

/** What the `messages` contract promises, sentence by sentence. */
export const contractCases: readonly MessageCase[] = [
  ...topicCases,
  ...appendCases,
  ...duplicateCases,
  ...laneCases,
  ...grantCases,
  ...positionCases,
  ...delayCases,
  ...administrationCases,
  ...ephemeralCases,
  ...roomCases,
  ...sealCases,
  ...crashCases,
  ...closingCases,
];
