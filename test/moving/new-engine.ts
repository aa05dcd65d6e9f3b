/** For `tenon migrate-topic --to`. */
import { open, ownSite } from "./site.ts";

export const engine = open(ownSite().to);
