/** For `tenon migrate-topic --from`. */
import { open, ownSite } from "./site.ts";

export const engine = () => open(ownSite().from);
