import { Violation } from "../system.ts";
import type { ClockReadings } from "./clock-record.ts";
import { ms } from "./instants.ts";
import type { LeaseInput, LeaseOperation } from "./lease-history.ts";

type Asked<Type extends LeaseInput["type"]> = LeaseOperation & {
  readonly input: Extract<LeaseInput, { readonly type: Type }>;
};

/** An acquisition that was answered with the grant, or a renewal of it that succeeded: from its call on the holder has the full time to live. */
export type Confirmation = Asked<"acquire"> | Asked<"renew">;

/** One grant of a name, as everything that was asked about it tells. */
export interface Grant {
  readonly name: string;
  readonly token: bigint;
  readonly holder: string;
  readonly client: string;
  readonly weight: number;
  readonly capacity: number;
  /** Its holder's first call for the name: it cannot have been granted before. */
  readonly firstCall: Asked<"acquire">;
  /** The first answer that told of it: it was granted before that. */
  readonly firstAnswer: Asked<"acquire">;
  /** In the order of their calls. */
  readonly confirmations: readonly Confirmation[];
  readonly lost: readonly Asked<"renew">[];
  /** What its holder gave up. In the order of their calls. */
  readonly releases: readonly Asked<"release">[];
  /** Requests of its holder of whose outcome nobody knows, and which may have prolonged it. */
  readonly unknown: readonly LeaseOperation[];
}

/** The grants of each name, by token. Throws a `Violation` when one token was given to two holders. */
export function grantsOf(operations: readonly LeaseOperation[]): ReadonlyMap<string, readonly Grant[]> {
  const byName = new Map<string, LeaseOperation[]>();
  for (const operation of operations.toSorted((a, b) => a.called - b.called)) {
    const known = byName.get(operation.input.name);
    if (known === undefined) byName.set(operation.input.name, [operation]);
    else known.push(operation);
  }
  return new Map(Array.from(byName, ([name, asked]) => [name, grantsOfName(asked)]));
}

function grantsOfName(asked: readonly LeaseOperation[]): readonly Grant[] {
  const byToken = new Map<bigint, Asked<"acquire">[]>();
  for (const operation of asked) {
    if (operation.output?.type !== "granted") continue;
    const { token } = operation.output;
    const answers = byToken.get(token);
    if (answers === undefined) byToken.set(token, [operation as Asked<"acquire">]);
    else answers.push(operation as Asked<"acquire">);
  }
  const grants = Array.from(byToken, ([token, answers]) => grantOf(token, answers, asked));
  return grants.sort((a, b) => (a.token < b.token ? -1 : 1));
}

function grantOf(token: bigint, answers: readonly Asked<"acquire">[], asked: readonly LeaseOperation[]): Grant {
  const firstAnswer = answers.reduce((first, each) => (each.returned! < first.returned! ? each : first));
  const { name, holder, weight, capacity } = firstAnswer.input;
  const other = answers.find(({ input }) => input.holder !== holder);
  if (other !== undefined) {
    const asking = (each: LeaseOperation) => `${each.input.holder} (of ${each.client}, at ${ms(each.returnedAt!)})`;
    throw new Violation(
      `token ${token} of ${name} was given to two holders: ${asking(firstAnswer)} and ${asking(other)}`,
    );
  }
  const own = asked.filter(({ input }) => input.holder === holder);
  const isRenewal = (each: LeaseOperation): each is Asked<"renew"> =>
    each.input.type === "renew" && each.input.token === token;
  const renewals = own.filter(isRenewal);
  const confirmations = [...answers, ...renewals.filter(({ output }) => output?.type === "renewed")];
  return {
    name,
    token,
    holder,
    client: firstAnswer.client,
    weight,
    capacity,
    firstCall: own.find(({ input }) => input.type === "acquire") as Asked<"acquire">,
    firstAnswer,
    confirmations: confirmations.sort((a, b) => a.called - b.called),
    lost: renewals.filter(({ output }) => output?.type === "lost"),
    releases: own.filter((each): each is Asked<"release"> => each.input.type === "release"),
    unknown: own.filter(({ returned, input }) => returned === undefined && input.type !== "release"),
  };
}

export function tellGrant({ holder, client, token }: Grant): string {
  return `${holder} (of ${client}, token ${token})`;
}

/**
 * From when the holder counts its time to live, at the earliest and at the latest: within the call. Its clock's readings tell how long ago that was, unless the clock was set or stood still meanwhile.
 */
export function sinceOf({ calledAt, returnedAt, output }: Confirmation, clock: ClockReadings, driftMax: number): Since {
  const sinceAt = output?.type === "granted" || output?.type === "renewed" ? output.sinceAt : undefined;
  if (sinceAt === undefined) return { earliest: calledAt, latest: calledAt };
  if (!clock.steady(calledAt, returnedAt!, driftMax)) return { earliest: calledAt, latest: returnedAt! };
  const counted = Math.max(calledAt, sinceAt);
  return { earliest: counted, latest: counted };
}

interface Since {
  readonly earliest: number;
  readonly latest: number;
}
