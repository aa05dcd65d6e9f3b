import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { EtcdConnection } from "../connection.ts";
import { type Compare, type Operation, revisionOf, type TransactionRequest } from "../wire.ts";
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
  /** The first of those who wait, in the order in which they came. */
  readonly first: WaiterKey | undefined;
  readonly waiting: number;
}

/** Whether somebody fits in beside those who hold the name. */
export function fits(
  holders: readonly HolderKey[],
  asks: { readonly weight: number; readonly capacity: number },
): boolean {
  let held = 0;
  for (const { weight } of holders) held += weight;
  return held + asks.weight <= asks.capacity;
}

/** What is asked of etcd about leased names. */
export class LeaseStore {
  readonly #connection: EtcdConnection;

  constructor(connection: EtcdConnection) {
    this.#connection = connection;
  }

  async look(name: LeasedName): Promise<LeaseSnapshot> {
    return (await this.lookFor(name, undefined)).snapshot;
  }

  /** The name, and the place that a holder has in its queue. */
  async lookFor(
    name: LeasedName,
    holder: string | undefined,
  ): Promise<{ readonly snapshot: LeaseSnapshot; readonly place: WaiterKey | undefined }> {
    const success: Operation[] = [
      { request_range: name.holders },
      { request_range: { ...name.waiters, sort_target: "CREATE", sort_order: "ASCEND", limit: 1 } },
    ];
    if (holder !== undefined) success.push({ request_range: { key: name.waiterKey(holder) } });
    const { header, responses = [] } = await this.#connection.look("looking at a lease", { success });
    const [held, queue, own] = responses.map(({ response_range: range }) => range);
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

  /** Grants what the snapshot leaves room for; `undefined` when somebody was granted something since, or has come to wait, or the place is gone. */
  async grant(
    name: LeasedName,
    request: ValidRequest,
    seen: { readonly snapshot: LeaseSnapshot; readonly place: WaiterKey | undefined },
    end: { readonly lease: string; readonly expiresAt: number },
  ): Promise<bigint | undefined> {
    const { holder } = request;
    const { snapshot, place } = seen;
    const next = String(snapshot.revision + 1);
    // Holders that have gone since leave more room, so only new ones matter.
    const noneCame = { target: "CREATE", result: "LESS", create_revision: next } as const;
    const compare: Compare[] = [{ ...name.holders, ...noneCame }];
    const success: Operation[] = [
      {
        request_put: { key: name.holderKey(holder), value: holderValue(request, end.expiresAt), lease: end.lease },
      },
    ];
    if (place === undefined) compare.push({ ...name.waiters, ...noneCame });
    else {
      const key = name.waiterKey(holder);
      compare.push({ key, target: "CREATE", result: "EQUAL", create_revision: place.revision });
      success.push({ request_delete_range: { key } });
    }
    const { succeeded, header } = await this.#connection.transact("a grant", { compare, success });
    return succeeded === true ? BigInt(revisionOf(header)) : undefined;
  }

  /** A place at the end of the queue, or the one that the holder has, under this lease of etcd. */
  async standInLine(name: LeasedName, request: ValidRequest, lease: string): Promise<void> {
    const put = { key: name.waiterKey(request.holder), value: waiterValue(request), lease };
    await this.#connection.transact("a place in a queue", { success: [{ request_put: put }] });
  }

  /** Another end for a grant; false when it is not there any more. */
  async extend(
    name: LeasedName,
    grant: HolderValue & { readonly holder: string; readonly token: bigint },
    lease: string,
    expiresAt: number,
  ): Promise<boolean> {
    const key = name.holderKey(grant.holder);
    const request: TransactionRequest = {
      compare: [{ key, target: "CREATE", result: "EQUAL", create_revision: String(grant.token) }],
      success: [{ request_put: { key, value: holderValue(grant, expiresAt), lease } }],
    };
    return (await this.#connection.transact("a renewal", request)).succeeded === true;
  }

  async remove(name: LeasedName, holder: string, placeOnly: boolean): Promise<void> {
    const success: Operation[] = [{ request_delete_range: { key: name.waiterKey(holder) } }];
    if (!placeOnly) success.push({ request_delete_range: { key: name.holderKey(holder) } });
    await this.#connection.transact("a release", { success });
  }
}
