/**
 * What is used of `fetch`: Node's own, or undici's bound to a dispatcher, for certificates and proxies. It must send a request at most once; Node's and
 * undici's do. An answer's body may come little by little, for as long as a watch lasts.
 */
export type EtcdFetch = (url: string, request: EtcdFetchRequest) => Promise<EtcdFetchResponse>;

export interface EtcdFetchRequest {
  readonly method: "POST";
  readonly headers: Record<string, string>;
  readonly body: string;
  readonly signal: AbortSignal;
  /** Following one would repeat the request. */
  readonly redirect: "error";
}

export interface EtcdFetchResponse {
  readonly status: number;
  text(): Promise<string>;
  readonly body: AsyncIterable<Uint8Array> | null;
}
