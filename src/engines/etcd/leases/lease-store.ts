import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { EtcdConnection } from "../connection.ts";
import { type Compare, type Operation, revisionOf, type TransactionReply } from "../wire.ts";
import {
  type GrantKey,
  type HolderKey,
  type HolderValue,
  holderValue,
  type LeasedName,
  type WaiterKey,
  waiterValue,
} from "./lease-names.ts";

/** A name as of one revision. */
export interface LeaseSnapshot {
  readonly revision: number;
  readonly holders: readonly HolderKey[];
  /** The first of those who wait, in the order in which they came; of those with the same revision, which are of one engine, any. */
  readonly first: WaiterKey | undefined;
  readonly waiting: number;
}

/** A name as one holder sees it. */
export interface Seen {
  readonly snapshot: LeaseSnapshot;
  /** The holder's own in the queue. */
  readonly place: WaiterKey | undefined;
}

/** Under which lease of etcd a grant stands, and its end as it is shown. */
export interface GrantEnd {
  readonly lease: string;
  readonly expiresAt: number;
}

/** As if it had been looked at before anything was there: what is granted on it is granted only if nothing is. */
export const free: Seen = {
  snapshot: { revision: 0, holders: [], first: undefined, waiting: 0 },
  place: undefined,
};

/** Whether somebody fits in beside those who hold the name. */
export function fits(
  holders: readonly { readonly weight: number }[],
  asks: { readonly weight: number; readonly capacity: number },
): boolean {
  let held = 0;
  for (const { weight } of holders) held += weight;
  return held + asks.weight <= asks.capacity;
}

/** What is asked of etcd about leased names, each in one transaction. */
export class LeaseStore {
  readonly #connection: EtcdConnection;

  constructor(connection: EtcdConnection) {
    this.#connection = connection;
  }

  async look(name: LeasedName): Promise<LeaseSnapshot> {
    return (await this.lookFor(name, undefined)).snapshot;
  }

  /** The name, and the place that a holder has in its queue. */
  async lookFor(name: LeasedName, holder: string | undefined): Promise<Seen> {
    const reply = await this.#connection.look("looking at a lease", { success: looks(name, holder) });
    return seenIn(name, reply);
  }

  /** Grants what was seen to leave room for it; `undefined` when somebody was granted something since, or has come to wait, or the place is gone. */
  async grant(
    name: LeasedName,
    request: ValidRequest,
    { snapshot, place }: Seen,
    end: GrantEnd,
  ): Promise<GrantKey | undefined> {
    const next = String(snapshot.revision + 1);
    // Holders that have gone since leave more room, so only new ones matter; and the key that was free still is.
    const noneCame = { target: "CREATE", result: "LESS", create_revision: next } as const;
    const key = name.keyBeside(snapshot.holders);
    const put = putHolder(key, request, end);
    let compare: Compare[];
    let success: Operation[];
    if (place === undefined) {
      compare = [{ ...name.all, ...noneCame }];
      success = [put];
    } else {
      const own = name.waiterKey(request.holder);
      compare = [{ ...name.holders, ...noneCame }, created(own, place.revision)];
      success = [put, { request_delete_range: { key: own } }];
    }
    return grantOf(key, await this.#connection.transact("a grant", { compare, success }));
  }

  /**
   * A place at the end of the queue, or `place`, which it has, under this lease of etcd; nothing when the holder has another place than that.
   * Answers how it is then: the holder may own the name, and then needs no place.
   */
  async standInLine(
    name: LeasedName,
    request: ValidRequest,
    lease: string,
    place: WaiterKey | undefined,
  ): Promise<Seen> {
    const { holder } = request;
    const key = name.waiterKey(holder);
    const compare = [created(key, place?.revision ?? "0")];
    const put: Operation = { request_put: { key, value: waiterValue(request), lease } };
    const look = looks(name, holder);
    const success = [put, ...look];
    return seenIn(name, await this.#connection.transact("a place in a queue", { compare, success, failure: look }));
  }

  /** Places for all of these, of one revision; `undefined` and none when one of them has a place. Those who own the name need none. */
  async standTogether(
    name: LeasedName,
    requests: readonly ValidRequest[],
    lease: string,
  ): Promise<LeaseSnapshot | undefined> {
    const compare = requests.map(({ holder }) => created(name.waiterKey(holder), "0"));
    const puts = requests.map((request): Operation => {
      return { request_put: { key: name.waiterKey(request.holder), value: waiterValue(request), lease } };
    });
    const success = [...puts, ...looks(name)];
    const reply = await this.#connection.transact("places in a queue", { compare, success });
    return reply.succeeded === true ? seenIn(name, reply).snapshot : undefined;
  }

  /** Another end for a grant; false when it is not there any more. */
  async extend(grant: HolderValue & GrantKey, end: GrantEnd): Promise<boolean> {
    const compare = [stands(grant)];
    const success = [putHolder(grant.key, grant, end)];
    return (await this.#connection.transact("a renewal", { compare, success })).succeeded === true;
  }

  async removePlace(name: LeasedName, holder: string): Promise<void> {
    await this.#connection.write("a release", "kv/deleterange", { key: name.waiterKey(holder) });
  }

  /** The place, and the grant, whichever key it has. */
  async removeAll(name: LeasedName, holder: string): Promise<void> {
    const success = [{ request_delete_range: { key: name.waiterKey(holder) } }, { request_range: name.holders }];
    const { snapshot } = seenIn(name, await this.#connection.transact("a release", { success }));
    const own = snapshot.holders.find((each) => each.holder === holder);
    if (own !== undefined) await this.removeGrant(own);
  }

  /** False when it was gone already. */
  async removeGrant(grant: GrantKey): Promise<boolean> {
    return (await this.#connection.transact("a release", removal(grant))).succeeded === true;
  }

  /**
   * Removes the grant, and makes another one of it for whoever waits in that place, if no other grant stands and nobody has waited for longer: so it fits in, whatever its weight.
   * `released`: it is only removed; `gone`: it was not there any more.
   */
  async handOver(
    name: LeasedName,
    from: GrantKey,
    to: { readonly request: ValidRequest; readonly place: number },
    end: GrantEnd,
  ): Promise<GrantKey | "released" | "gone"> {
    const key = name.keyBeside([from]);
    const place = name.waiterKey(to.request.holder);
    const compare: Compare[] = [
      { ...name.holders, target: "CREATE", result: "EQUAL", create_revision: String(from.token) },
      { ...name.waiters, target: "CREATE", result: "GREATER", create_revision: String(to.place - 1) },
      created(place, String(to.place)),
    ];
    const release = removal(from);
    const success = [...release.success, { request_delete_range: { key: place } }, putHolder(key, to.request, end)];
    const failure = [{ request_txn: release }];
    const reply = await this.#connection.transact("a release", { compare, success, failure });
    const released = reply.responses?.[0]?.response_txn?.succeeded === true;
    return grantOf(key, reply) ?? (released ? "released" : "gone");
  }
}

/** What was made under that key, if it was made. */
function grantOf(key: string, { succeeded, header }: TransactionReply): GrantKey | undefined {
  return succeeded === true ? { key, token: BigInt(revisionOf(header)) } : undefined;
}

/** Somebody else may have the key by now. */
function removal(grant: GrantKey) {
  return { compare: [stands(grant)], success: [{ request_delete_range: { key: grant.key } }] };
}

function stands({ key, token }: GrantKey): Compare {
  return created(key, String(token));
}

/** The key was created by that revision; "0": there is none. */
function created(key: string, revision: string): Compare {
  return { key, target: "CREATE", result: "EQUAL", create_revision: revision };
}

function putHolder(key: string, grant: Omit<HolderValue, "expiresAt">, { lease, expiresAt }: GrantEnd): Operation {
  return { request_put: { key, value: holderValue(grant, expiresAt), lease } };
}

/** Ends a transaction whose answer `seenIn` reads. */
function looks(name: LeasedName, holder?: string): Operation[] {
  const operations: Operation[] = [
    { request_range: name.holders },
    { request_range: { ...name.waiters, sort_target: "CREATE", sort_order: "ASCEND", limit: 1 } },
  ];
  if (holder !== undefined) operations.push({ request_range: { key: name.waiterKey(holder) } });
  return operations;
}

function seenIn(name: LeasedName, { header, responses = [] }: TransactionReply): Seen {
  const ranges = responses.flatMap(({ response_range: range }) => (range === undefined ? [] : [range]));
  const [held, queue, own] = ranges;
  const holders = (held?.kvs ?? []).map((pair) => name.holderOf(pair));
  holders.sort((one, other) => (one.token < other.token ? -1 : 1));
  const [first] = queue?.kvs ?? [];
  const [place] = own?.kvs ?? [];
  return {
    snapshot: {
      revision: revisionOf(header),
      holders,
      first: first && name.waiterOf(first),
      waiting: Number(queue?.count ?? 0),
    },
    place: place && name.waiterOf(place),
  };
}
