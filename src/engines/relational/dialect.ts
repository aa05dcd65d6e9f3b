import type { Outcome, TenonError } from "../../contracts/errors.ts";
import type { KeyValueCommands } from "./key-values/commands.ts";
import type { LeaseCommands } from "./leases/commands.ts";
import type { Ear, HearNotice } from "./listener.ts";
import type { MessageCommands } from "./messages/commands.ts";
import type { RateCommands } from "./rates/commands.ts";
import type { Session } from "./session.ts";
import type { Tables } from "./tables.ts";
import type { Wire } from "./wire.ts";

/** What is one server's own: how it is asked, what its errors mean, how notices come. */
export interface Dialect {
  /** What people call it, for messages: `PostgreSQL`. */
  readonly server: string;
  /** A session that nobody has used for so long is replaced, as the server may be about to end it. */
  readonly idleMsMax: number;
  /** For a new client of the user's; throws `invalid` when there can be none. */
  wire(): Wire;
  /** Whether the same transaction may succeed when it is repeated: the server has rolled it back, or gave up a statement that collided. */
  isCollision(error: unknown): boolean;
  /** The server ends the session with this error, or the connection is gone. */
  isEnd(error: unknown): boolean;
  /** What an error means that the server or the client gave while a statement was under way. `outcome`: when nobody knows whether it was carried out. */
  failureOf(error: unknown, what: string, outcome: Outcome): TenonError;
  /** Hears, on a session of its own, what is told on channels. */
  ear(session: Session, hear: HearNotice): Ear;
  /** Whether what the session has committed since the last call may be news for this process itself, which hears of it by looking only. */
  hasTold?(session: Session): boolean;
  commands(tables: Tables): Commands;
}

export interface Commands {
  readonly keyValues: KeyValueCommands;
  readonly leases: LeaseCommands;
  readonly rates: RateCommands;
  readonly messages: MessageCommands;
}
