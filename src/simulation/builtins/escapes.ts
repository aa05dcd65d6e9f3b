import { type AsyncHook, createHook } from "node:async_hooks";
import { type ModuleHooks, registerHooks } from "node:module";
import { ambientWorld } from "../../world/ambient.ts";
import type { World } from "../../world/world.ts";
import type { Builtin } from "./builtin-patches.ts";

/** Something that a simulated process did outside of the simulation, so that another run of the same seed may differ. */
export interface Escape {
  /** A public function, such as `fs.readFile`; what was loaded, such as `import node:os`; or Node's name of a resource, such as `TCPWRAP`. */
  readonly call: string;
  /** Where in the user's code: the first frames outside of Node and of the simulator, one per line. Empty when only Node was at work. */
  readonly stack: string;
}

/**
 * What Node names its resources that stand for a thread, a handle of the operating system or real time. Not among them: `TickObject`, `Microtask`,
 * `PROMISE` and `BLOBREADER`, which need no turn of the event loop; `WRITEWRAP` and `SHUTDOWNWRAP`, which come with a stream that is named already or with
 * what the program prints; and the names that libraries give to theirs.
 */
const escapingResources = new Set([
  ...["Timeout", "Immediate", "ELDHISTOGRAM"],
  ...["DIRHANDLE", "FILEHANDLE", "FILEHANDLECLOSEREQ", "FSEVENTWRAP", "FSREQCALLBACK", "FSREQPROMISE", "STATWATCHER"],
  ...["DNSCHANNEL", "GETADDRINFOREQWRAP", "GETNAMEINFOREQWRAP", "QUERYWRAP"],
  ...[
    "PIPECONNECTWRAP",
    "PIPESERVERWRAP",
    "PIPEWRAP",
    "TCPCONNECTWRAP",
    "TCPSERVERWRAP",
    "TCPWRAP",
    "TLSWRAP",
    "TTYWRAP",
  ],
  ...["UDPSENDWRAP", "UDPWRAP", "JSUDPWRAP", "QUIC_ENDPOINT", "QUIC_SESSION", "QUIC_STREAM", "QUIC_UDP"],
  ...["HTTPCLIENTREQUEST", "HTTPINCOMINGMESSAGE", "HTTP2SESSION", "HTTP2STREAM", "HTTP2PING", "HTTP2SETTINGS"],
  ...["PROCESSWRAP", "SIGNALWRAP", "WORKER", "WORKERHEAPSNAPSHOT", "MESSAGEPORT", "HEAPSNAPSHOT"],
]);

/** Made for computing in a thread, but also where the same is computed at once. */
const computingResources = new Set([
  ...["ZLIB", "CHECKPRIMEREQUEST", "CIPHERREQUEST", "DERIVEBITSREQUEST", "HASHREQUEST", "KEYEXPORTREQUEST"],
  ...["KEYGENREQUEST", "KEYPAIRGENREQUEST", "PBKDF2REQUEST", "RANDOMBYTESREQUEST", "RANDOMPRIMEREQUEST"],
  ...[
    "SCRYPTREQUEST",
    "ARGON2REQUEST",
    "SIGNREQUEST",
    "VERIFYREQUEST",
    "KEMENCAPSULATEREQUEST",
    "KEMDECAPSULATEREQUEST",
  ],
]);

const STACK_FRAMES_MAX = 10;
/** Enough to get from inside of Node to the user's code. */
const STACK_FRAMES_READ = 50;
/** A frame of a function of Node that computes at once, such as `pbkdf2Sync (node:internal/…)`. Those of `node:zlib` have one name in common. */
const computingAtOnce = /^\s*at (?:\S+\.)?(?:\w+Sync|syncBufferWrapper) \(node:/m;
/** Node's own errands, which no code asked for: loading modules, and reading the source that a failed assertion quotes. */
const errandOfNode = /\(node:(?:assert|internal\/(?:assert|modules|source_map|process|errors)\b)/;

/** Where the simulator's own files are, except for their tests. */
const simulator = new URL("..", import.meta.url).href;

/** Brings a resource that is being made into the simulation, and answers whether it could. */
export type Adopt = (type: string, resource: object, world: World) => boolean;

/** Tells what leaves the simulation while code lives in a World. Three nets: Node's resources, public functions that are wrapped with `naming`, and loads of modules. */
export class EscapeWatch {
  readonly #escaped: (what: Escape, world: World) => void;
  readonly #resources: AsyncHook;
  readonly #adopt: Adopt;
  #loads: ModuleHooks | undefined;
  /** Above 0 while a call that was told of runs: what it does in turn has no news. */
  #told = 0;

  constructor(escaped: (what: Escape, world: World) => void, adopt: Adopt) {
    this.#escaped = escaped;
    this.#adopt = adopt;
    this.#resources = createHook({
      // Hooks into promises would cost each of them, and promises never leave.
      trackPromises: false,
      init: (_id, type, _trigger, resource) => this.#made(type, resource),
    });
  }

  start(): void {
    this.#resources.enable();
    this.#loads = registerHooks({
      load: (url, context, next) => {
        this.tell(`import ${url}`);
        return next(url, context);
      },
    });
  }

  stop(): void {
    this.#resources.disable();
    this.#loads?.deregister();
  }

  /** The function as it is, but called from inside of a World it is told of by that name. */
  naming<Original extends Builtin>(call: string, original: Original): Original {
    const watch = this;
    const named = function (this: unknown, ...parameters: Parameters<Original>): unknown {
      if (ambientWorld() === undefined) return Reflect.apply(original, this, parameters);
      return watch.telling(call, () => Reflect.apply(original, this, parameters));
    };
    return named as unknown as Original;
  }

  /** Calls `fn`, which leaves the simulation. */
  telling<Result>(call: string, fn: () => Result): Result {
    this.tell(call);
    this.#told += 1;
    try {
      return fn();
    } finally {
      this.#told -= 1;
    }
  }

  tell(call: string): void {
    const world = ambientWorld();
    if (world === undefined || this.#told > 0) return;
    const frames = framesHere();
    const caller = frames.find((frame) => !isSimulator(frame));
    if (caller !== undefined && errandOfNode.test(caller) && !call.startsWith("import ")) return;
    this.#escaped({ call, stack: usersPart(frames) }, world);
  }

  #made(type: string, resource: object): void {
    if (this.#told > 0 || !(escapingResources.has(type) || computingResources.has(type))) return;
    const world = ambientWorld();
    if (world === undefined || this.#adopt(type, resource, world)) return;
    const frames = framesHere();
    if (computingResources.has(type) && computingAtOnce.test(frames.join("\n"))) return;
    this.#escaped({ call: type, stack: usersPart(frames) }, world);
  }
}

function framesHere(): readonly string[] {
  const limit = Error.stackTraceLimit;
  try {
    Error.stackTraceLimit = STACK_FRAMES_READ;
    const frames = String(new Error().stack).split("\n");
    return frames.filter((frame) => /:\d+:\d+\)?$/.test(frame));
  } catch {
    // The program may have its own ideas of stacks; an error in a hook would end it.
    return [];
  } finally {
    Error.stackTraceLimit = limit;
  }
}

function usersPart(frames: readonly string[]): string {
  const users = frames.filter((frame) => !isSimulator(frame) && !/(?:\(|at |async )node:/.test(frame));
  return users.slice(0, STACK_FRAMES_MAX).join("\n");
}

function isSimulator(frame: string): boolean {
  return frame.includes(simulator) && !/\.test\.[jt]s:/.test(frame);
}
