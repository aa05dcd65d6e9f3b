import { type ErrorCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import { lost } from "../relational/failures.ts";

const server = "MySQL";

/** The number by which the server names an error; `undefined` when it was not the server that answered. */
export function errorNumberOf(error: unknown): number | undefined {
  const { errno, sqlState } = (error ?? {}) as { errno?: unknown; sqlState?: unknown };
  return typeof errno === "number" && typeof sqlState === "string" ? errno : undefined;
}

const numbers = {
  /** A deadlock; a row or a table that changed since the transaction began. The transaction is rolled back. */
  collided: [1213, 1020, 1412],
  /** It shuts down, was told to end the connection, stood idle for too long, or lost it. */
  ended: [1053, 1079, 1152, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1927, 3169, 4031],
  /** Told to stop in the midst of something; it could not end a commit. */
  interrupted: [1317, 1180, 1969, 3024],
  late: [1205, 3572],
  readOnly: [1290, 1792, 1836, 1874, 3100],
  /** A node of a cluster that is not part of it. */
  notReady: [1047],
  denied: [1044, 1045, 1129, 1130, 1142, 1143, 1227, 1251, 1370, 1410, 1524, 1698, 1820, 1862, 3118],
  full: [1021, 1037, 1038, 1040, 1041, 1114, 1135, 1197, 1203, 1206, 1226],
  noDatabase: [1049],
  noTable: [1051, 1054, 1146],
  packetTooLarge: [1153],
  duplicate: [1062],
  columnThere: [1060],
  tooManyPrepared: [1461],
} as const;

function is(error: unknown, kind: keyof typeof numbers): boolean {
  const number = errorNumberOf(error);
  return number !== undefined && (numbers[kind] as readonly number[]).includes(number);
}

/** Whether the same transaction may succeed when it is repeated: the server has rolled it back. */
export function isCollision(error: unknown): boolean {
  return is(error, "collided");
}

/** The server ends the session with this error, or the connection is gone. */
export function isEnd(error: unknown): boolean {
  return errorNumberOf(error) === undefined || is(error, "ended") || is(error, "packetTooLarge");
}

/** A row with that key is there; the transaction goes on. */
export function isDuplicate(error: unknown): boolean {
  return is(error, "duplicate");
}

/** A column with that name is there. */
export function isColumnThere(error: unknown): boolean {
  return is(error, "columnThere");
}

/** The server holds as many prepared statements as it may; nothing was carried out. */
export function isTooManyPrepared(error: unknown): boolean {
  return is(error, "tooManyPrepared");
}

/** What an error means that the server or the client gave while a statement was under way. `outcome`: when nobody knows whether it was carried out. */
export function failureOf(error: unknown, what: string, outcome: Outcome): TenonError {
  if (error instanceof TenonError) return error;
  const number = errorNumberOf(error);
  if (number === undefined || is(error, "ended")) return lost(server, what, error, outcome);
  const known = kinds.find(([kind]) => is(error, kind));
  const [, code, message] = known ?? other;
  const isUnknown = known?.[0] === "interrupted" && outcome === "unknown";
  return new TenonError(code, message(what, number), {
    outcome: isUnknown ? "unknown" : "not-applied",
    fields: { errno: number },
  });
}

type Kind = readonly [kind: keyof typeof numbers, code: ErrorCode, message: (what: string, errno: number) => string];

const kinds: readonly Kind[] = [
  ["noDatabase", "not-found", (what) => `The database of ${what} is not there.`],
  ["collided", "unavailable", (what) => `${server} rolled ${what} back: it collided with others. Try again.`],
  [
    "interrupted",
    "unavailable",
    (what, errno) =>
      `${server} was told to stop ${what} (${errno}). Look whether it happened, or repeat it where that is safe.`,
  ],
  [
    "late",
    "unavailable",
    (what, errno) =>
      `${server} did not come to ${what} in time (${errno}); somebody holds what it needs. It was not carried out; try again.`,
  ],
  [
    "readOnly",
    "unavailable",
    (what) => `The server takes no changes, so ${what} was refused: it is read-only. Connect to the primary.`,
  ],
  [
    "notReady",
    "unavailable",
    (what, errno) => `The server is not part of its cluster, so ${what} was refused (${errno}). Try again later.`,
  ],
  [
    "denied",
    "denied",
    (what, errno) =>
      `${server} refused ${what} (${errno}). Mend the credentials, or grant the rights that docs/mysql.md lists.`,
  ],
  [
    "full",
    "overloaded",
    (what, errno) =>
      `${server} refused ${what} (${errno}): it is out of disk, memory or connections. Give it more, or try again later.`,
  ],
  [
    "packetTooLarge",
    "overloaded",
    (what) => `${server} refused ${what}, as it is too large for one request. Raise max_allowed_packet.`,
  ],
  [
    "noTable",
    "not-found",
    (_, errno) =>
      `Tables of this engine are not there, or are others (${errno}). Make them with the option tables: "make".`,
  ],
];

const other: Kind = [
  "duplicate",
  "conflict",
  (what, errno) =>
    `${server} could not carry out ${what} (${errno}). What is stored may come from another program or version.`,
];
