import { isCode } from "../../contracts/errors.ts";
import type { DatabaseConnection } from "../relational/connection.ts";
import type { Command, Parameter, Row, Sql } from "../relational/sql.ts";
import { ask } from "./commands.ts";
import type { MysqlStatement } from "./mysql-wire.ts";
import { isEnd, isTooManyPrepared } from "./server-failures.ts";

/*
 * MariaDB takes a block of statements as one statement, with all that a stored procedure may hold, though nothing has to be made on the server or granted for it. It is one request, whatever the client's `multipleStatements` is, and it can
 * be prepared. MySQL has nothing of the kind.
 */

export interface Block {
  /** Statements, each with its semicolon; the last one is a SELECT of text or bytes. */
  readonly text: string;
  /** For a few that come again and again: each session prepares it when it is first asked. */
  readonly isPrepared: boolean;
}

const rollBack = ask("ROLLBACK");

/** Carries out a block that is a transaction, and answers the rows of its last statement. A statement that fails in it leaves the transaction open, so that is rolled back. */
export async function carryOut(sql: Sql, block: Block, values: readonly Parameter[]): Promise<readonly Row[]> {
  const statement: MysqlStatement = { ...block, name: "", text: `BEGIN NOT ATOMIC ${block.text} END` };
  try {
    // The rows of each SELECT, and then what a statement without rows answers.
    const [rows] = (await sql.run(statement, values)) as unknown as readonly [Row[], unknown];
    return rows;
  } catch (error) {
    if (isTooManyPrepared(error)) return carryOut(sql, { ...block, isPrepared: false }, values);
    if (!isEnd(error)) await rollBack(sql);
    throw error;
  }
}

/** Whether the server, the client and what lies between them carry such blocks and their answers, as text and prepared. */
export async function carriesBlocks(connection: DatabaseConnection): Promise<boolean> {
  const text = "DECLARE given INT DEFAULT $1; SELECT CAST(given AS CHAR) AS given;";
  const looking: Command = async (sql, values) => {
    const answers = [];
    for (const isPrepared of [false, true]) answers.push(...(await carryOut(sql, { text, isPrepared }, values)));
    return answers;
  };
  try {
    const rows = await connection.read("looking for compound statements", looking, [1]);
    return rows.map((row) => String(row.given)).join() === "1,1";
  } catch (error) {
    // The server does not know what it is asked, or may not answer so.
    if (isCode(error, "conflict")) return false;
    throw error;
  }
}
