import type { PostgresQuery, PostgresResult } from "./pool.ts";

/** What is used of a `Client` of the package pg. */
export interface PostgresClient {
  /** Whether it sends what is asked while answers are missing; one that does not must not be asked then. */
  readonly pipeline?: boolean;
  connect(): Promise<unknown>;
  query(query: PostgresQuery): Promise<PostgresResult>;
  end(): Promise<void>;
  /** What it writes to, so that a connection that is dead can be cut: taking leave would wait for an answer. */
  readonly connection?: { readonly stream?: { destroy(): unknown } } | undefined;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "end", listener: () => void): unknown;
  on(event: "notification", listener: (notification: PostgresNotification) => void): unknown;
}

export interface PostgresNotification {
  readonly channel: string;
  readonly payload?: string | undefined;
}
