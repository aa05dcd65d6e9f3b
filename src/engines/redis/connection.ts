import type { Script } from "./script.ts";

/** What a command or a script may be given; numbers are sent as their decimal digits. */
export type Argument = string | Uint8Array | number;

/**
 * What the parts of the engine see of Redis: commands, scripts, channels. Every failure is a `TenonError`: `unavailable` with outcome
 * `not-applied` when it was surely not carried out, with `unknown` when the reply was lost, `closed` after `close`. Nothing is repeated.
 *
 * Replies: bulk and simple strings are Buffers, integers are numbers (exact to 2^53), nil is null, arrays are arrays. Where the two versions of
 * the protocol differ (maps, sets, scores), the shape depends on the client; let a script answer in arrays and strings there.
 */
export interface Connection {
  /**
   * One command; `key`, where there is one, names the slot that it belongs to. On one node commands and scripts take effect in the
   * order of the calls.
   */
  command(key: string | undefined, args: readonly Argument[]): Promise<unknown>;

  /**
   * A script, by its hash; sent in full when the server does not know it, which keeps the order of the calls that share a key.
   * All keys are in one slot, and there is at least one.
   */
  run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown>;

  /**
   * Calls back with every message of the channel, and with `undefined` when the subscription was made or remade later than this call
   * resolved: messages may have been missed. During an outage it resolves all the same. One further connection serves all channels.
   */
  listen(channel: string, listener: (payload: Buffer | undefined) => void): Promise<() => Promise<void>>;

  readonly isCluster: boolean;

  /** Waits for what is under way, briefly and only while the server answers. Idempotent. */
  close(): Promise<void>;
}

/** What the most frequent of scripts are run by: without a promise for each layer that they pass. */
export interface DirectConnection extends Connection {
  /** As `run`, for those who have a promise of their own already. */
  runFor(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    resolve: (reply: unknown) => void,
    reject: (error: unknown) => void,
  ): void;

  /** Writes what was asked for in this turn so far, which else is written at its end: the server then works while more is asked for. */
  flush(): void;
}
