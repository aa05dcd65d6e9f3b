/** A value that a statement of the engine carries. */
export type Parameter = string | number | bigint | boolean | Uint8Array | null | readonly Parameter[];
export type Row = Readonly<Record<string, unknown>>;

/** What is sent to a server, again and again, with other values each time; one that prepares it does so under its name. */
export interface Statement {
  readonly name: string;
  readonly text: string;
}

/** What carries out commands: a session by itself, or a transaction. */
export interface Sql {
  run(statement: Statement, values?: readonly Parameter[]): Promise<readonly Row[]>;
}

/**
 * What an engine asks of its tables, as a dialect has it: one statement, or a few where the server needs more. What its values and its rows are is said where the engine lists it, the same for every
 * dialect. One that is called outside of a transaction is one statement, or changes nothing.
 */
export type Command = (sql: Sql, values: readonly Parameter[]) => Promise<readonly Row[]>;

/** A command that is one statement. */
export function command(name: string, text: string): Command {
  const statement: Statement = { name, text };
  return (sql, values) => sql.run(statement, values);
}
