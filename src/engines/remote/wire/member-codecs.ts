import type { TenonError } from "../../../contracts/errors.ts";
import type { Held, LaneCommit, Stored } from "../../../contracts/messages.ts";
import { bigint, list, number, oneOf } from "./codecs.ts";
import { failure } from "./failure-codec.ts";
import { held, laneCommit, stored } from "./message-codecs.ts";

/** One grant of a lane. */
export interface GrantKey {
  readonly partition: number;
  readonly fence: bigint;
}

/** What a member asks, in order; see protocol.ts. */
export type MemberRequest =
  | { readonly type: "news" }
  | ({ readonly type: "fetch"; readonly limit: number } & GrantKey)
  | ({ readonly type: "commit"; readonly change: LaneCommit } & GrantKey)
  | ({ readonly type: "release" } & GrantKey)
  | { readonly type: "leave" };

export type Notice =
  | ({ readonly type: "granted"; readonly suspectBelow: bigint; readonly held: readonly Held[] } & GrantKey)
  | ({ readonly type: "revoked" } & GrantKey)
  | ({ readonly type: "lost"; readonly reason: TenonError } & GrantKey)
  /** It is a member no more, for this reason. */
  | { readonly type: "ended"; readonly reason: TenonError };

export type MemberAnswer =
  | { readonly type: "news"; readonly notices: readonly Notice[] }
  | { readonly type: "messages"; readonly messages: readonly Stored[] }
  | { readonly type: "done" }
  | { readonly type: "failed"; readonly reason: TenonError }
  /** The server knows no such member (any more). */
  | { readonly type: "gone" };

const key = { partition: number, fence: bigint };

export const memberRequest = oneOf<MemberRequest>("request of a member", {
  news: {},
  fetch: { ...key, limit: number },
  commit: { ...key, change: laneCommit },
  release: key,
  leave: {},
});

const notice = oneOf<Notice>("notice", {
  granted: { ...key, suspectBelow: bigint, held: list(held) },
  revoked: key,
  lost: { ...key, reason: failure },
  ended: { reason: failure },
});

export const memberAnswer = oneOf<MemberAnswer>("answer to a member", {
  news: { notices: list(notice) },
  messages: { messages: list(stored) },
  done: {},
  failed: { reason: failure },
  gone: {},
});
