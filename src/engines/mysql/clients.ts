import type { Bound } from "./literals.ts";

/** What is used of a connection of the package mysql2, by its promises: one of its own, or one that a pool lends. */
export interface MysqlClient {
  query(query: MysqlQuery): Promise<readonly [result: unknown, fields: unknown]>;
  /** As a statement that the session prepares once. */
  execute(query: MysqlQuery & { values: Bound[] }): Promise<readonly [result: unknown, fields: unknown]>;
  end(): Promise<void>;
  destroy(): void;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "end", listener: () => void): unknown;
}

export interface MysqlQuery {
  sql: string;
  rowsAsArray: boolean;
  nestTables: boolean;
  typeCast: (field: MysqlField) => unknown;
}

/** A value of a row, which has to be read. */
export interface MysqlField {
  readonly type: string;
  string(encoding?: string): string | null;
  buffer(): Buffer | null;
}

/** Behind the promises: what a pool has lent can be released, and a connection that is dead can be cut. */
interface Inner {
  readonly stream?: { destroy(): unknown };
  release?(): unknown;
}

function innerOf(client: MysqlClient): Inner | undefined {
  return (client as { readonly connection?: Inner }).connection;
}

/** Takes leave of the server. A pool's connection is not given back, as its session is set as the engine needs it. */
export async function leave(client: MysqlClient): Promise<void> {
  if (typeof innerOf(client)?.release === "function") client.destroy();
  else await client.end();
}

/** Without waiting for anything. */
export function cut(client: MysqlClient): void {
  client.destroy();
  innerOf(client)?.stream?.destroy();
}
