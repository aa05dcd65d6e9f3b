import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { converse, type Exchange } from "./exchange.ts";

/** Logs in to the URL's database with SCRAM-SHA-256, or without a password where the server wants none. */
export function logInToPostgres(url: string): Promise<void> {
  const { username, password, pathname } = new URL(url);
  const user = decodeURIComponent(username);
  const database = decodeURIComponent(pathname.slice(1));
  return converse(url, async (exchange) => {
    exchange.send(startup(user, database));
    let answer = await authentication(exchange);
    if (answer.kind === 10) answer = await scram(exchange, decodeURIComponent(password));
    if (answer.kind !== 0) throw new Error("it wants another kind of password than SCRAM-SHA-256");
  });
}

interface Authentication {
  /** 0: ready; 10: it wants SCRAM; 11: its challenge; 12 would be its own proof. */
  readonly kind: number;
  readonly data: string;
}

async function scram(exchange: Exchange, password: string): Promise<Authentication> {
  const nonce = randomBytes(18).toString("base64");
  const first = `n=,r=${nonce}`;
  const initial = Buffer.from(`n,,${first}`);
  exchange.send(passwordMessage(Buffer.concat([Buffer.from("SCRAM-SHA-256\0"), int32(initial.length), initial])));
  const { data: challenge } = await authentication(exchange);
  const {
    r = "",
    s = "",
    i = "",
  } = Object.fromEntries(challenge.split(",").map((part) => [part.slice(0, 1), part.slice(2)]));
  const salted = pbkdf2Sync(password, Buffer.from(s, "base64"), Number(i), 32, "sha256");
  const clientKey = createHmac("sha256", salted).update("Client Key").digest();
  const storedKey = createHash("sha256").update(clientKey).digest();
  const last = `c=biws,r=${r}`;
  const signature = createHmac("sha256", storedKey).update(`${first},${challenge},${last}`).digest();
  const proof = Buffer.from(clientKey.map((byte, index) => byte ^ signature[index]!));
  exchange.send(passwordMessage(Buffer.from(`${last},p=${proof.toString("base64")}`)));
  return authentication(exchange);
}

/** What the server asks for next; kind 0 once it is ready for queries. */
function authentication(exchange: Exchange): Promise<Authentication> {
  return exchange.receive((bytes) => {
    for (let start = 0; bytes.length >= start + 5; ) {
      const end = start + 1 + bytes.readUInt32BE(start + 1);
      if (bytes.length < end) return undefined;
      const type = String.fromCharCode(bytes[start]!);
      if (type === "E") throw new Error(errorText(bytes.subarray(start, end)));
      if (type === "Z") return { kind: 0, data: "" };
      const kind = type === "R" ? bytes.readUInt32BE(start + 5) : 0;
      if (kind !== 0 && kind !== 12) return { kind, data: bytes.toString("utf8", start + 9, end) };
      start = end;
    }
    return undefined;
  });
}

function errorText(bytes: Buffer): string {
  const fields = bytes.toString("utf8", 5).split("\0");
  return fields.find((field) => field.startsWith("M"))?.slice(1) ?? "it refuses the connection";
}

function startup(user: string, database: string): Buffer {
  const body = Buffer.from(`user\0${user}\0database\0${database}\0\0`);
  return Buffer.concat([int32(body.length + 8), int32(196_608), body]);
}

function passwordMessage(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from("p"), int32(body.length + 4), body]);
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}
