/** The part of etcd's JSON API (v3) that is used: bytes are base64, and whole numbers of 64 bits are decimal digits. */

export interface Header {
  readonly cluster_id?: string;
  readonly revision?: string;
}

export interface KeyRange {
  readonly key: string;
  readonly range_end?: string;
}

export interface RangeRequest extends KeyRange {
  readonly limit?: number;
  readonly revision?: string;
  readonly sort_order?: "ASCEND";
  readonly sort_target?: "CREATE";
  readonly keys_only?: boolean;
  readonly count_only?: boolean;
}

export interface KeyValue {
  readonly key: string;
  readonly value?: string;
  readonly create_revision: string;
  readonly mod_revision: string;
  readonly lease?: string;
}

export interface RangeReply {
  readonly header?: Header;
  readonly kvs?: readonly KeyValue[];
  readonly more?: boolean;
  readonly count?: string;
}

/** Of a range every key must satisfy it; one without keys counts as a key whose revisions are 0. */
export interface Compare extends KeyRange {
  readonly target: "MOD" | "CREATE";
  readonly result: "EQUAL" | "LESS" | "GREATER";
  readonly mod_revision?: string;
  readonly create_revision?: string;
}

export type Operation =
  | { readonly request_range: RangeRequest }
  | {
      readonly request_put: {
        readonly key: string;
        readonly value: string;
        readonly lease?: string;
        readonly ignore_lease?: boolean;
      };
    }
  | { readonly request_delete_range: KeyRange & { readonly prev_kv?: boolean } }
  | { readonly request_txn: TransactionRequest };

export interface TransactionRequest {
  readonly compare?: readonly Compare[];
  readonly success?: readonly Operation[];
  readonly failure?: readonly Operation[];
}

export interface TransactionReply {
  readonly header: Header;
  readonly succeeded?: boolean;
  readonly responses?: readonly {
    readonly response_range?: RangeReply;
    readonly response_delete_range?: { readonly prev_kvs?: readonly KeyValue[] };
    readonly response_txn?: { readonly succeeded?: boolean };
  }[];
}

export interface LeaseReply {
  readonly ID: string;
  /** In seconds; left out when the lease is no more. */
  readonly TTL?: string;
}

export interface WatchReply {
  readonly header?: Header;
  readonly created?: boolean;
  readonly canceled?: boolean;
  readonly compact_revision?: string;
  /** More of the same revision follows. */
  readonly fragment?: boolean;
  readonly events?: readonly { readonly type?: "DELETE"; readonly kv: KeyValue }[];
}

export function base64(bytes: Uint8Array | string): string {
  return (
    typeof bytes === "string" ? Buffer.from(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  ).toString("base64");
}

export function bytesOf(text: string | undefined): Buffer {
  return Buffer.from(text ?? "", "base64");
}

/** Revisions are counted one by one, and stay far below 2^53. */
export function revisionOf(header: Header | undefined): number {
  return Number(header?.revision ?? 0);
}

/** All keys that begin so. No name holds the byte 0xff. */
export function rangeOf(prefix: Uint8Array): KeyRange {
  return { key: base64(prefix), range_end: base64(Buffer.concat([prefix, Buffer.from([0xff])])) };
}
