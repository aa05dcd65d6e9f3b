import { createHash } from "node:crypto";
import { converse } from "./exchange.ts";

/** CLIENT_LONG_PASSWORD, CONNECT_WITH_DB, PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH. */
const clientFlags = 0x1 | 0x8 | 0x200 | 0x8000 | 0x80000;

/** Logs in to the URL's database with mysql_native_password, as MariaDB's users have by default. */
export function logInToMySql(url: string): Promise<void> {
  const { username, password, pathname } = new URL(url);
  return converse(url, async (exchange) => {
    const greeting = await exchange.receive(wholePacket);
    if (greeting[0] !== 10)
      throw new Error(greeting[0] === 0xff ? greeting.toString("utf8", 3) : "it does not answer as MariaDB does");
    const answer = Buffer.concat([
      int32(clientFlags),
      int32(1 << 24),
      Buffer.from([45]),
      Buffer.alloc(23),
      Buffer.from(`${decodeURIComponent(username)}\0`),
      Buffer.from([20]),
      scramble(decodeURIComponent(password), saltOf(greeting)),
      Buffer.from(`${decodeURIComponent(pathname.slice(1))}\0mysql_native_password\0`),
    ]);
    const header = int32(answer.length);
    header[3] = 1;
    exchange.send(Buffer.concat([header, answer]));
    const reply = await exchange.receive(wholePacket);
    if (reply[0] === 0xff) throw new Error(reply.toString("utf8", 9));
    if (reply[0] !== 0) throw new Error("it wants another kind of password than mysql_native_password");
  });
}

function wholePacket(bytes: Buffer): Buffer | undefined {
  if (bytes.length < 4) return undefined;
  const end = 4 + bytes.readUIntLE(0, 3);
  return bytes.length < end ? undefined : bytes.subarray(4, end);
}

/** Eight bytes after the version and the connection's id, and twelve more eighteen bytes later. */
function saltOf(greeting: Buffer): Buffer {
  const first = greeting.indexOf(0) + 5;
  return Buffer.concat([greeting.subarray(first, first + 8), greeting.subarray(first + 27, first + 39)]);
}

function scramble(password: string, salt: Buffer): Buffer {
  const once = sha1(Buffer.from(password));
  const mask = sha1(Buffer.concat([salt, sha1(once)]));
  return Buffer.from(once.map((byte, index) => byte ^ mask[index]!));
}

function sha1(bytes: Buffer): Buffer {
  return createHash("sha1").update(bytes).digest();
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return bytes;
}
