import type { Outcome, TenonError } from "../../contracts/errors.ts";
import type { Commands, Dialect } from "../relational/dialect.ts";
import type { Ear, HearNotice } from "../relational/listener.ts";
import type { Session } from "../relational/session.ts";
import type { Tables } from "../relational/tables.ts";
import type { PostgresClient } from "./clients.ts";
import { keyValueStatements } from "./key-values/statements.ts";
import { leaseStatements } from "./leases/statements.ts";
import { messageStatements } from "./messages/statements.ts";
import { PostgresWire } from "./postgres-wire.ts";
import { rateStatements } from "./rates/statements.ts";
import { failureOf, isCollision, isEnd } from "./server-failures.ts";

/** A connection that breaks in silence is found out so soon. */
const pingMs = 10_000;

export class PostgresDialect implements Dialect {
  readonly server = "PostgreSQL";
  readonly idleMsMax = Number.POSITIVE_INFINITY;
  readonly #connect: () => PostgresClient;
  readonly #commandTimeoutMs: number;

  /** `connect` answers a new client each time; it belongs to the engine from then on. */
  constructor(connect: () => PostgresClient, commandTimeoutMs: number) {
    this.#connect = connect;
    this.#commandTimeoutMs = commandTimeoutMs;
  }

  wire(): PostgresWire {
    return new PostgresWire(this.#connect, this.#commandTimeoutMs);
  }

  isCollision(error: unknown): boolean {
    return isCollision(error);
  }

  isEnd(error: unknown): boolean {
    return isEnd(error);
  }

  failureOf(error: unknown, what: string, outcome: Outcome): TenonError {
    return failureOf(error, what, outcome);
  }

  ear(session: Session, hear: HearNotice): Ear {
    (session.wire as PostgresWire).client.on("notification", ({ channel, payload }) => hear(channel, payload));
    return {
      listen: (channel) => session.simple(`LISTEN "${channel}"`),
      leave: (channel) => session.simple(`UNLISTEN "${channel}"`),
      async look() {
        // Nothing was said for so long.
        await session.simple("SELECT 1");
        return pingMs;
      },
    };
  }

  commands(tables: Tables): Commands {
    return {
      keyValues: keyValueStatements(tables),
      leases: leaseStatements(tables),
      rates: rateStatements(tables),
      messages: messageStatements(tables),
    };
  }
}
