import { TenonError } from "../../../contracts/errors.ts";
import type { Held, LaneCommit, Stored } from "../../../contracts/messages.ts";
import type { EndingLane } from "../../lanes/lane-queue.ts";
import type { GrantKey, MemberAnswer, MemberRequest, Notice } from "../wire/member-codecs.ts";

/** What a lane asks of the membership that it was granted to. */
export interface LaneHost {
  readonly topic: string;
  readonly group: string;
  /** Asks the server, over as many connections as it takes; rejects when the session has ended. */
  ask(asked: MemberRequest): Promise<MemberAnswer>;
  /** Ends lanes whose session has surely ended, although nobody said so yet. */
  checkSession(): void;
  /** The grant has ended here. */
  forget(lane: RemoteLane): void;
}

/** A lane under one grant, which the server holds. */
export class RemoteLane implements EndingLane {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly fence: bigint;
  readonly held: readonly Held[];
  readonly suspectBelow: bigint;
  ended = false;

  readonly #host: LaneHost;
  readonly #key: GrantKey;
  readonly #revoked = new AbortController();
  readonly #lost = new AbortController();
  /** Ends the waiting for the server's answer to a fetch. */
  #endFilling: (() => void) | undefined;
  /** Messages that came for a fetch that was aborted meanwhile. */
  #here: readonly Stored[] = [];
  #filling: Promise<void> | undefined;
  #fetching = false;
  #released: Promise<void> | undefined;

  constructor(granted: Extract<Notice, { readonly type: "granted" }>, host: LaneHost) {
    const { partition, fence, held, suspectBelow } = granted;
    this.#host = host;
    this.#key = { partition, fence };
    this.topic = host.topic;
    this.group = host.group;
    this.partition = partition;
    this.fence = fence;
    this.held = held;
    this.suspectBelow = suspectBelow;
  }

  get revoked(): AbortSignal {
    return this.#revoked.signal;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  revoke(): void {
    if (this.ended) return;
    this.#revoked.abort(new TenonError("lost", `${this.#name} was asked back; finish, commit and release it`));
  }

  /** Ends the grant from outside; `reason` is what everything under it gets from now on. */
  lose(reason: TenonError): void {
    if (this.ended) return;
    this.#end();
    this.#lost.abort(reason);
  }

  /** Takes nothing more on. */
  stop(): void {
    if (!this.ended) this.#end();
  }

  #end(): void {
    this.ended = true;
    this.#here = [];
    this.#endFilling?.();
  }

  async fetch(limit: number, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<readonly Stored[]> {
    const { signal } = options;
    if (!(Number.isInteger(limit) && limit > 0)) {
      throw new TenonError("invalid", `fetch needs a limit of at least 1, not ${limit}`);
    }
    if (this.#fetching) {
      throw new TenonError("conflict", `${this.#name} is being fetched from; wait for that call first`);
    }
    this.#fetching = true;
    try {
      for (;;) {
        signal?.throwIfAborted();
        this.#throwIfEnded();
        if (this.#here.length > 0) return this.#take(limit);
        this.#filling ??= this.#fill(limit);
        await this.#unlessEnded(this.#filling, signal);
      }
    } finally {
      this.#fetching = false;
    }
  }

  #take(limit: number): readonly Stored[] {
    const taken = this.#here.length <= limit ? this.#here : this.#here.slice(0, limit);
    this.#here = taken === this.#here ? [] : this.#here.slice(limit);
    return taken;
  }

  /** An aborted call leaves what comes to the next one. */
  async #fill(limit: number): Promise<void> {
    try {
      const answer = await this.#ask({ type: "fetch", ...this.#key, limit });
      if (answer.type === "messages" && !this.ended) this.#here = answer.messages;
    } finally {
      this.#filling = undefined;
    }
  }

  /** Waits for the promise, though not beyond an abort or the end of the grant. */
  async #unlessEnded(promise: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
    const ended = Promise.withResolvers<void>();
    const end = () => ended.resolve();
    this.#endFilling = end;
    signal?.addEventListener("abort", end, { once: true });
    // Whoever waits next hears of a failure that nobody waits for now.
    promise.catch(() => undefined);
    try {
      await Promise.race([promise, ended.promise]);
    } finally {
      this.#endFilling = undefined;
      signal?.removeEventListener("abort", end);
    }
  }

  async commit(change: LaneCommit): Promise<void> {
    this.#throwIfEnded();
    await this.#ask({ type: "commit", ...this.#key, change });
    if (this.#here.length > 0) {
      const settled = new Set(change.settled);
      this.#here = this.#here.filter(({ position }) => !settled.has(position));
    }
  }

  async #ask(asked: MemberRequest): Promise<MemberAnswer> {
    const answer = await this.#host.ask(asked);
    if (answer.type !== "failed") return answer;
    if (answer.reason.code === "lost") {
      this.lose(answer.reason);
      this.#host.forget(this);
    }
    throw answer.reason;
  }

  release(): Promise<void> {
    this.#released ??= this.#giveBack();
    return this.#released;
  }

  async #giveBack(): Promise<void> {
    if (this.ended) return;
    this.stop();
    this.#host.forget(this);
    // When the session has ended there is nothing left to give back.
    const answer = await this.#host.ask({ type: "release", ...this.#key }).catch(() => undefined);
    if (answer?.type === "failed") throw answer.reason;
  }

  #throwIfEnded(): void {
    if (!this.ended) this.#host.checkSession();
    if (!this.ended) return;
    if (this.#lost.signal.aborted) throw this.#lost.signal.reason;
    throw new TenonError("lost", `${this.#name} was released; ask the membership for the next lane`);
  }

  get #name(): string {
    return `lane ${this.topic}/${this.partition} of group ${this.group}`;
  }
}
