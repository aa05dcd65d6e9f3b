import type {
  CommitResult,
  KeyValueCapabilities,
  KeyValueChange,
  KeyValueEntry,
  ScanOptions,
  WatchEvent,
} from "../../../contracts/key-value.ts";
import type { LeaseCapabilities, LeaseDescription, LeaseRequest } from "../../../contracts/leases.ts";
import type {
  LogBatch,
  LogCapabilities,
  LogCommit,
  LogDeclaration,
  LogDescription,
  LogPage,
  LogRead,
  LogWriter,
} from "../../../contracts/log.ts";
import type {
  Batch,
  JoinOptions,
  MessageCapabilities,
  SeekTarget,
  TopicDeclaration,
  TopicDescription,
} from "../../../contracts/messages.ts";
import type { ConcurrencyRule, RateCapabilities, RateDecision, RateRule } from "../../../contracts/rates.ts";
import { bigint, boolean, type Codec, list, nothing, number, optional, record, text, word } from "./codecs.ts";
import * as logs from "./log-codecs.ts";
import { type MemberAnswer, type MemberRequest, memberAnswer, memberRequest } from "./member-codecs.ts";
import * as messages from "./message-codecs.ts";
import * as states from "./state-codecs.ts";

/** What can be asked of a server. */
export interface Operation<Request, Answer> {
  readonly code: number;
  /** As it stands in errors. */
  readonly name: string;
  /** It changes nothing, so that a lost answer leaves no doubt. */
  readonly reads: boolean;
  /** Its answer may take as long as it likes, and so it does not count as work that is under way. */
  readonly waits: boolean;
  readonly request: Codec<Request>;
  readonly answer: Codec<Answer>;
}

/** An operation whose answer is a long list: it comes in parts. */
export interface ListOperation<Request, Item> extends Operation<Request, readonly Item[]> {
  readonly itemBytes: (item: Item) => number;
}

type Nature = "reads" | "changes" | "waits";

function operation<Request, Answer>(
  code: number,
  name: string,
  nature: Nature,
  request: Codec<Request>,
  answer: Codec<Answer>,
): Operation<Request, Answer> {
  return { code, name, reads: nature === "reads", waits: nature === "waits", request, answer };
}

function listing<Request, Item>(
  code: number,
  name: string,
  request: Codec<Request>,
  item: Codec<Item>,
  itemBytes: (item: Item) => number,
): ListOperation<Request, Item> {
  return { ...operation(code, name, "reads", request, list(item)), itemBytes };
}

/** Identifies a watch on its connection. One that is not begun and not known was another connection's. */
export interface WatchKey {
  readonly watch: number;
  readonly begins: boolean;
}

/** Identifies a membership until its end. */
interface MemberKey {
  readonly member: string;
}

interface Join extends MemberKey {
  readonly topic: string;
  readonly group: string;
  /** It was a member before, so the group is there, or was removed. */
  readonly again: boolean;
  readonly options: JoinOptions;
}

interface NumberedRequest extends MemberKey {
  readonly number: number;
  /** The numbers whose answers have arrived since this was said last. */
  readonly answered: readonly number[];
  readonly asked: MemberRequest;
}

const readerOfLog = record<{ readonly reader: string; readonly log: string }>({ reader: text, log: text });

export const operations = {
  declare: operation(
    1,
    "declaring a topic",
    "changes",
    record<{ readonly topic: string; readonly declaration: TopicDeclaration }>({
      topic: text,
      declaration: messages.topicDeclaration,
    }),
    nothing,
  ),
  topics: listing(2, "listing the topics", nothing, text, (name: string) => 8 + 2 * name.length),
  remove: operation(3, "removing a topic", "changes", text, nothing),
  removeGroup: operation(
    4,
    "removing a group",
    "changes",
    record<{ readonly topic: string; readonly group: string }>({ topic: text, group: text }),
    nothing,
  ),
  describeTopic: operation<string, TopicDescription>(5, "describing a topic", "reads", text, messages.topicDescription),
  append: operation<Batch, readonly (bigint | undefined)[]>(
    6,
    "appending",
    "changes",
    messages.batch,
    list(optional(bigint)),
  ),
  seek: operation(
    7,
    "seeking",
    "changes",
    record<{ readonly topic: string; readonly group: string; readonly to: SeekTarget }>({
      topic: text,
      group: text,
      to: messages.seekTarget,
    }),
    nothing,
  ),
  join: operation(
    8,
    "joining a group",
    "changes",
    record<Join>({ member: text, topic: text, group: text, again: boolean, options: messages.joinOptions }),
    nothing,
  ),
  /** Answers whether the member is known. */
  resume: operation(
    9,
    "resuming a membership",
    "reads",
    record<MemberKey & { readonly waitsFor: readonly number[] }>({ member: text, waitsFor: list(number) }),
    boolean,
  ),
  ask: operation<NumberedRequest, MemberAnswer>(
    10,
    "a member's request",
    "waits",
    record<NumberedRequest>({ member: text, number, answered: list(number), asked: memberRequest }),
    memberAnswer,
  ),
  /** Ends a membership as if its session had ended. */
  abandon: operation(11, "abandoning a membership", "changes", text, nothing),

  get: listing(20, "getting key-values", list(text), optional(states.entry), states.entryBytes),
  commit: operation<readonly KeyValueChange[], CommitResult>(
    21,
    "committing key-values",
    "changes",
    list(states.change),
    states.commitResult,
  ),
  scan: listing<{ readonly prefix: string; readonly options: ScanOptions }, KeyValueEntry>(
    22,
    "scanning key-values",
    record({ prefix: text, options: states.scanOptions }),
    states.entry,
    states.entryBytes,
  ),
  watchKeys: operation<WatchKey & { readonly prefix: string }, readonly WatchEvent[]>(
    23,
    "watching key-values",
    "waits",
    record({ watch: number, begins: boolean, prefix: text }),
    list(states.watchEvent),
  ),

  acquire: operation<{ readonly name: string; readonly request: LeaseRequest }, states.Grant | undefined>(
    30,
    "acquiring a lease",
    "waits",
    record({ name: text, request: states.leaseRequest }),
    optional(states.grant),
  ),
  renew: operation<{ readonly lease: states.Grant; readonly ttlMs: number }, states.Grant>(
    31,
    "renewing a lease",
    "changes",
    record({ lease: states.grant, ttlMs: number }),
    states.grant,
  ),
  release: operation(
    32,
    "releasing a lease",
    "changes",
    record<{ readonly name: string; readonly holder: string }>({ name: text, holder: text }),
    nothing,
  ),
  describeLease: operation<string, LeaseDescription>(33, "describing a lease", "reads", text, states.leaseDescription),
  watchLease: operation<WatchKey & { readonly name: string }, readonly LeaseDescription[]>(
    34,
    "watching a lease",
    "waits",
    record({ watch: number, begins: boolean, name: text }),
    list(states.leaseDescription),
  ),
  /** Of either kind. */
  endWatch: operation(35, "ending a watch", "reads", number, nothing),

  decide: operation<
    { readonly key: string; readonly rule: RateRule | ConcurrencyRule; readonly count: number },
    RateDecision
  >(40, "deciding a rate", "changes", record({ key: text, rule: states.anyRule, count: number }), states.rateDecision),
  enter: operation<
    { readonly key: string; readonly rule: RateRule | ConcurrencyRule; readonly permit: string },
    RateDecision
  >(41, "entering", "changes", record({ key: text, rule: states.anyRule, permit: text }), states.rateDecision),
  leave: operation(
    42,
    "leaving",
    "changes",
    record<{ readonly key: string; readonly rule: RateRule | ConcurrencyRule; readonly permit: string }>({
      key: text,
      rule: states.anyRule,
      permit: text,
    }),
    nothing,
  ),
  reset: operation(
    43,
    "resetting a rate",
    "changes",
    record<{ readonly key: string; readonly rule: RateRule | ConcurrencyRule }>({ key: text, rule: states.anyRule }),
    nothing,
  ),

  declareLog: operation(
    50,
    "declaring a log",
    "changes",
    record<{ readonly log: string; readonly declaration: LogDeclaration }>({
      log: text,
      declaration: logs.logDeclaration,
    }),
    nothing,
  ),
  logs: listing(51, "listing the logs", nothing, text, (name: string) => 8 + 2 * name.length),
  removeLog: operation(52, "removing a log", "changes", text, nothing),
  describeLog: operation<string, LogDescription>(53, "describing a log", "reads", text, logs.logDescription),
  appendRecords: operation<LogBatch, readonly bigint[]>(
    54,
    "appending to a log",
    "changes",
    logs.logBatch,
    list(bigint),
  ),
  readLog: operation<LogRead, LogPage>(55, "reading a log", "reads", logs.logRead, logs.logPage),
  /** The same, for a read that waits. */
  awaitLog: operation<LogRead, LogPage>(56, "waiting for a log", "waits", logs.logRead, logs.logPage),
  locateLog: operation(
    57,
    "finding an instant in a log",
    "reads",
    record<{ readonly log: string; readonly partition: number; readonly at: number }>({
      log: text,
      partition: number,
      at: number,
    }),
    bigint,
  ),
  readerPositions: operation(
    58,
    "asking where a reader stands",
    "reads",
    readerOfLog,
    list(record<{ readonly partition: number; readonly position: bigint }>({ partition: number, position: bigint })),
  ),
  forgetReader: operation(59, "forgetting a reader", "changes", readerOfLog, nothing),
  openWriter: operation<{ readonly name: string; readonly logs: readonly string[] }, LogWriter>(
    60,
    "opening a writer",
    "changes",
    record({ name: text, logs: list(text) }),
    logs.logWriter,
  ),
  commitLog: operation<
    { readonly writer: LogWriter; readonly change: LogCommit },
    readonly (readonly (bigint | undefined)[])[]
  >(
    61,
    "committing to logs",
    "changes",
    record({ writer: logs.logWriter, change: logs.logCommit }),
    list(list(optional(bigint))),
  ),
} as const;

export interface Hello {
  readonly magic: number;
  readonly version: number;
  /** Who connects: the same for every connection of one engine. */
  readonly client: string;
  /** Grows with every connection of the client. */
  readonly connection: number;
  readonly heartbeatMs: number;
}

export const hello = record<Hello>({
  magic: number,
  version: number,
  client: text,
  connection: number,
  heartbeatMs: number,
});

export interface Capabilities {
  readonly messages: MessageCapabilities;
  readonly keyValue: KeyValueCapabilities;
  readonly leases: LeaseCapabilities;
  readonly rates: RateCapabilities;
  /** `undefined`: the engine that is served has no logs. */
  readonly log: LogCapabilities | undefined;
}

export interface Welcome {
  /** The largest request that the server takes. */
  readonly requestBytesMax: number;
  /** Of the engine that is served. */
  readonly engine: string;
  readonly topicCreation: "ifMissing" | "never";
  readonly capabilities: Capabilities;
}

export const welcome = record<Welcome>({
  requestBytesMax: number,
  engine: text,
  topicCreation: word("ifMissing", "never"),
  capabilities: record<Capabilities>({
    messages: messages.messageCapabilities,
    keyValue: states.keyValueCapabilities,
    leases: states.leaseCapabilities,
    rates: states.rateCapabilities,
    log: optional(logs.logCapabilities),
  }),
});
