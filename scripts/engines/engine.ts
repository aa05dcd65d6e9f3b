import type { EngineName } from "./addresses.ts";
import type { Site } from "./site.ts";

export interface DebianPackage {
  readonly package: string;
  /** A program that is there when the package is installed. */
  readonly program: string;
}

/** One kind of server, or several that belong together, that `npm run engines` can start. */
export interface Engine {
  readonly name: EngineName;
  readonly version: string;
  readonly packages: readonly DebianPackage[];
  /** The ports it prefers, by what they are for, in the order of its servers. */
  readonly ports: Readonly<Record<string, number>>;
  /** The ports that users connect to. */
  readonly published: readonly string[];
  /** The system user that its servers run as when we are root; its data folder is then the user's. */
  readonly user?: string | undefined;
  /** Asks a server to end in good order; SIGTERM when left out. */
  readonly stopSignal?: NodeJS.Signals | undefined;
  /** Starts what does not run, and resolves when all of it serves. */
  start(site: Site): Promise<void>;
}
