/**
 * Loaded before everything else (`--import`), it puts the canary named by TENON_CANARY into the source that is loaded afterwards. So nothing
 * of it stands in the package.
 */
import { registerHooks } from "node:module";
import { canaries } from "./canaries.ts";
import { withBug } from "./canary.ts";

const name = process.env.TENON_CANARY;
const canary = canaries.find((candidate) => candidate.name === name);
if (canary === undefined) throw new Error(`there is no canary "${name}"`);
const file = new URL(`../../../${canary.file}`, import.meta.url).href;

registerHooks({
  load(url, context, nextLoad) {
    const loaded = nextLoad(url, context);
    if (url !== file) return loaded;
    return { ...loaded, source: withBug(canary, Buffer.from(loaded.source as Uint8Array).toString("utf8")) };
  },
});
