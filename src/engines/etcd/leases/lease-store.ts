import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { EtcdConnection } from "../connection.ts";
import { type Compare, type Operation, revisionOf, type TransactionReply } from "../wire.ts";
import {
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
  ): Promise<bigint | undefined> {
    const next = String(snapshot.revision + 1);
    // Holders that have gone since leave more room, so only new ones matter.
    const noneCame = { target: "CREATE", result: "LESS", create_revision: next } as const;
    const put = putHolder(name, request, end);
    let compare: Compare[];
    let success: Operation[];
    if (place === undefined) {
      compare = [{ ...name.all, ...noneCame }];
      success = [put];
    } else {
      const key = name.waiterKey(request.holder);
      compare = [{ ...name.holders, ...noneCame }, created(key, place.revision)];
      success = [put, { request_delete_range: { key } }];
    }
    return tokenOf(await this.#connection.transact("a grant", { compare, success }));
  }

  /**
   * A place at the end of the queue, or `place`, which it has, under this lease of etcd; nothing when the holder owns the name, or has another
   * place than that. Answers how it is then.
   */
  async standInLine(
    name: LeasedName,
    request: ValidRequest,
    lease: string,
    place: WaiterKey | undefined,
  ): Promise<Seen> {
    const { holder } = request;
    const key = name.waiterKey(holder);
    const compare = [created(name.holderKey(holder), "0"), created(key, place?.revision ?? "0")];
    const put: Operation = { request_put: { key, value: waiterValue(request), lease } };
    const look = looks(name, holder);
    const success = [put, ...look];
    return seenIn(name, await this.#connection.transact("a place in a queue", { compare, success, failure: look }));
  }

  /** Places for all of these, of one revision; `undefined` and none when one of them owns the name or has a place. */
  async standTogether(
    name: LeasedName,
    requests: readonly ValidRequest[],
    lease: string,
  ): Promise<LeaseSnapshot | undefined> {
    const compare = requests.flatMap(({ holder }) => {
      return [created(name.holderKey(holder), "0"), created(name.waiterKey(holder), "0")];
    });
    const puts = requests.map((request): Operation => {
      return { request_put: { key: name.waiterKey(request.holder), value: waiterValue(request), lease } };
    });
    const success = [...puts, ...looks(name)];
    const reply = await this.#connection.transact("places in a queue", { compare, success });
    return reply.succeeded === true ? seenIn(name, reply).snapshot : undefined;
  }

  /** Another end for a grant; false when it is not there any more. */
  async extend(
    name: LeasedName,
    grant: HolderValue & { readonly holder: string; readonly token: bigint },
    { lease, expiresAt }: GrantEnd,
  ): Promise<boolean> {
    const key = name.holderKey(grant.holder);
    const compare = [created(key, String(grant.token))];
    const success = [{ request_put: { key, value: holderValue(grant, expiresAt), lease } }];
    return (await this.#connection.transact("a renewal", { compare, success })).succeeded === true;
  }

  async remove(name: LeasedName, holder: string, what: "place" | "all"): Promise<void> {
    const success: Operation[] = [{ request_delete_range: { key: name.waiterKey(holder) } }];
    if (what === "all") success.push({ request_delete_range: { key: name.holderKey(holder) } });
    await this.#connection.transact("a release", { success });
  }

  /** Of one who surely has no place; it costs etcd less than a transaction. */
  async removeGrant(name: LeasedName, holder: string): Promise<void> {
    await this.#connection.write("a release", "kv/deleterange", { key: name.holderKey(holder) });
  }

  /**
   * Removes the grant, and makes another one of it for whoever waits in that place, if no other grant stands and nobody has waited for longer: so it fits in, whatever its weight.
   * `undefined`: it is only removed.
   */
  async handOver(
    name: LeasedName,
    from: { readonly holder: string; readonly token: bigint },
    to: { readonly request: ValidRequest; readonly place: number },
    end: GrantEnd,
  ): Promise<bigint | undefined> {
    const place = name.waiterKey(to.request.holder);
    const compare: Compare[] = [
      { ...name.holders, target: "CREATE", result: "EQUAL", create_revision: String(from.token) },
      { ...name.waiters, target: "CREATE", result: "GREATER", create_revision: String(to.place - 1) },
      created(place, String(to.place)),
    ];
    const failure: Operation[] = [{ request_delete_range: { key: name.holderKey(from.holder) } }];
    const success = [...failure, { request_delete_range: { key: place } }, putHolder(name, to.request, end)];
    return tokenOf(await this.#connection.transact("a release", { compare, success, failure }));
  }
}

/** The revision that made the grant, if it was made. */
function tokenOf({ succeeded, header }: TransactionReply): bigint | undefined {
  return succeeded === true ? BigInt(revisionOf(header)) : undefined;
}

/** The key was created by that revision; "0": there is none. */
function created(key: string, revision: string): Compare {
  return { key, target: "CREATE", result: "EQUAL", create_revision: revision };
}

function putHolder(name: LeasedName, request: ValidRequest, { lease, expiresAt }: GrantEnd): Operation {
  return { request_put: { key: name.holderKey(request.holder), value: holderValue(request, expiresAt), lease } };
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
