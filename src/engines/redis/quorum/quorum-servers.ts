import { isCode, TenonError } from "../../../contracts/errors.ts";
import type { Argument } from "../connection.ts";
import { asRead } from "../failures.ts";
import type { Script } from "../script.ts";
import { isAway, type QuorumServer } from "./quorum-server.ts";

/** What some of the servers have said so far. */
export class Votes {
  readonly count: number;
  readonly majority: number;
  readonly replies = new Map<QuorumServer, readonly Buffer[]>();
  readonly failures = new Map<QuorumServer, unknown>();
  readonly #complete = Promise.withResolvers<void>();

  constructor(count: number) {
    this.count = count;
    this.majority = majorityOf(count);
  }

  /** How many said this. */
  of(what: string): number {
    return this.saying(what).length;
  }

  saying(what: string): readonly (readonly [server: QuorumServer, reply: readonly Buffer[]])[] {
    return [...this.replies].filter(([, reply]) => String(reply[0]) === what);
  }

  /** Everybody has answered or failed. */
  get complete(): Promise<void> {
    return this.#complete.promise;
  }

  note(server: QuorumServer, answer: { readonly reply: readonly Buffer[] } | { readonly error: unknown }): void {
    if ("reply" in answer) this.replies.set(server, answer.reply);
    else this.failures.set(server, answer.error);
    if (this.unheard === 0) this.#complete.resolve();
  }

  get unheard(): number {
    return this.count - this.replies.size - this.failures.size;
  }

  /** How many were reached and have no vote: they hold nothing that counts. */
  get away(): number {
    return [...this.failures.values()].filter((error) => error instanceof TenonError && isAway(error)).length;
  }
}

export class QuorumServers {
  readonly all: readonly QuorumServer[];

  constructor(all: readonly QuorumServer[]) {
    this.all = all;
  }

  get majority(): number {
    return majorityOf(this.all.length);
  }

  /**
   * Asks all servers at once. Resolves when `decided` says that the rest does not matter, when all have answered or failed, or when a majority has and
   * only those are missing that failed to answer last time.
   */
  ask(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    decided: (votes: Votes) => boolean,
  ): Promise<Votes> {
    const votes = new Votes(this.all.length);
    const { promise, resolve } = Promise.withResolvers<Votes>();
    const look = (): void => {
      if (decided(votes) || votes.unheard === 0 || this.#onlySuspectsMissing(votes)) resolve(votes);
    };
    for (const server of this.all) {
      server.ask(script, keys, args).then(
        (reply) => {
          votes.note(server, { reply });
          look();
        },
        (error: unknown) => {
          votes.note(server, { error });
          look();
        },
      );
    }
    return promise;
  }

  #onlySuspectsMissing(votes: Votes): boolean {
    if (votes.replies.size < votes.majority) return false;
    return this.all.every((server) => server.isSuspect || votes.replies.has(server) || votes.failures.has(server));
  }

  /** Sent to each of them, without waiting for any. */
  tell(servers: Iterable<QuorumServer>, script: Script, keys: readonly string[], args: readonly Argument[]): void {
    for (const server of servers) server.ask(script, keys, args).catch(() => undefined);
  }

  /** Calls back with what any server publishes; those that cannot be reached are left out. */
  async listen(channel: string, listener: () => void): Promise<() => Promise<void>> {
    const listening = await Promise.allSettled(this.all.map((server) => server.listen(channel, listener)));
    const stops = listening.filter((each) => each.status === "fulfilled").map((each) => each.value);
    return async () => void (await Promise.allSettled(stops.map((stop) => stop())));
  }

  /** Too few servers have answered. `isRead`: nothing was to be changed. */
  unavailable(what: string, votes: Votes, isRead = false): TenonError {
    const errors = [...votes.failures.values()];
    // What is no outage has the same cause on all servers, and trying again does not help.
    const other = errors.find((error) => !isCode(error, "unavailable"));
    if (other !== undefined) return isRead ? asReadError(other) : (other as TenonError);
    const unknown = votes.unheard > 0 || errors.some((error) => (error as TenonError).outcome !== "not-applied");
    const { count, majority, away } = votes;
    const fields = { servers: count, answered: votes.replies.size, away };
    const reason =
      away > 0
        ? `, and ${away} have no vote yet, as they came back empty or may have lost leases; if all are new, call foundRedisQuorum once`
        : "";
    const message = `${what} needs the agreement of ${majority} of the ${count} servers; ${votes.replies.size} answered${reason}. Try again when more are up.`;
    return new TenonError("unavailable", message, {
      outcome: unknown && !isRead ? "unknown" : "not-applied",
      fields,
      cause: errors[0],
    });
  }

  async close(): Promise<void> {
    await Promise.all(this.all.map((server) => server.close()));
  }
}

export function majorityOf(count: number): number {
  return Math.floor(count / 2) + 1;
}

function asReadError(error: unknown): TenonError {
  try {
    return asRead(error);
  } catch (read) {
    return read as TenonError;
  }
}
