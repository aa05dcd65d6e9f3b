import type { Outcome, TenonError } from "../../contracts/errors.ts";
import type { Commands, Dialect } from "../relational/dialect.ts";
import { keyValueChannel } from "../relational/key-values/relational-key-values.ts";
import type { HearNotice } from "../relational/listener.ts";
import type { Session } from "../relational/session.ts";
import type { Tables } from "../relational/tables.ts";
import type { MysqlClient } from "./clients.ts";
import { keyValueCommands } from "./key-values/commands.ts";
import { leaseCommands } from "./leases/commands.ts";
import { messageCommands } from "./messages/commands.ts";
import { idleSecondsOf, MysqlWire } from "./mysql-wire.ts";
import { NoticeEar, Notices } from "./notices.ts";
import { rateCommands } from "./rates/commands.ts";
import { failureOf, isCollision, isEnd } from "./server-failures.ts";

export interface MysqlDialectSettings {
  /** Answers a new client each time; it belongs to the engine from then on. */
  readonly connect: () => Promise<MysqlClient>;
  readonly tables: Tables;
  readonly commandTimeoutMs: number;
  readonly noticeMs: number;
  readonly monotonic: () => number;
}

export class MysqlDialect implements Dialect {
  readonly server = "MySQL";
  readonly idleMsMax: number;
  /** Whether blocks of statements go as one request; what `commands` answers makes use of that. */
  carriesBlocks = false;
  readonly #settings: MysqlDialectSettings;
  readonly #notices: Notices;

  constructor(settings: MysqlDialectSettings) {
    this.#settings = settings;
    this.idleMsMax = (idleSecondsOf(settings.commandTimeoutMs) * 1_000) / 2;
    this.#notices = new Notices(settings.tables);
  }

  wire(): MysqlWire {
    return new MysqlWire(this.#settings.connect, this.#settings.commandTimeoutMs);
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

  ear(session: Session, hear: HearNotice): NoticeEar {
    const { tables, monotonic, noticeMs } = this.#settings;
    return new NoticeEar(session, hear, {
      tables,
      keyValueChannel: keyValueChannel(tables.prefix),
      monotonic,
      noticeMs,
    });
  }

  hasTold(session: Session): boolean {
    return this.#notices.hasTold(session);
  }

  commands(tables: Tables): Commands {
    return {
      keyValues: keyValueCommands(tables, this.#notices),
      leases: leaseCommands(tables, this.#notices),
      rates: rateCommands(tables),
      messages: messageCommands(tables, this.#notices, this.carriesBlocks),
    };
  }
}
