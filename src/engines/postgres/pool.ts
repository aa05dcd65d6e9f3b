/** What is used of a `Pool` of the package pg. */
export interface PostgresPool {
  /** Whether `end` was called. */
  readonly ended: boolean;
  connect(): Promise<PostgresConnection>;
}

/** What is used of a connection that the pool lends. */
export interface PostgresConnection {
  query(query: PostgresQuery): Promise<PostgresResult>;
  on(event: "error", listener: (error: Error) => void): unknown;
  removeListener(event: "error", listener: (error: Error) => void): unknown;
  /** With `true` the connection is closed instead of being kept. */
  release(destroy?: boolean): void;
}

export interface PostgresQuery {
  readonly text: string;
  /** Under which the server remembers how it is carried out. */
  readonly name?: string;
  values: unknown[];
  types: { getTypeParser(oid: number, format?: "text" | "binary"): (value: string) => unknown };
}

export interface PostgresResult {
  /** The command's tag, such as `COMMIT`. */
  readonly command: string;
  readonly rowCount: number | null;
  readonly rows: unknown[];
}

/** Of a text of several statements, the last one's. */
export function commandOf(result: PostgresResult | readonly PostgresResult[]): string {
  return Array.isArray(result) ? (result.at(-1)?.command ?? "") : (result as PostgresResult).command;
}
