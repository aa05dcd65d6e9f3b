import { converse } from "./exchange.ts";

const header = Buffer.from("AMQP\0\x00\x09\x01", "latin1");

/** Logs in as a client does, as far as the server's offer of limits: it knows the user and takes connections. */
export function logIn(url: string): Promise<void> {
  const { username, password } = new URL(url);
  return converse(
    url,
    async (exchange) => {
      exchange.send(header);
      await exchange.receive((bytes) => methodOf(bytes, 10, 10));
      exchange.send(startOk(decodeURIComponent(username), decodeURIComponent(password)));
      await exchange.receive((bytes) => methodOf(bytes, 10, 30));
    },
    5_000,
  );
}

/** True when the first frame is whole and holds that method. */
function methodOf(bytes: Buffer, classId: number, methodId: number): true | undefined {
  if (bytes.length < 7 || bytes.length < 7 + bytes.readUInt32BE(3) + 1) return undefined;
  if (bytes[0] !== 1 || bytes.readUInt16BE(7) !== classId || bytes.readUInt16BE(9) !== methodId)
    throw new Error("the server does not answer as AMQP 0-9-1 says, or refuses the user");
  return true;
}

function startOk(user: string, password: string): Buffer {
  const payload = Buffer.concat([
    Buffer.from([0, 10, 0, 11]),
    long(Buffer.alloc(0)),
    short("PLAIN"),
    long(Buffer.from(`\0${user}\0${password}`)),
    short("en_US"),
  ]);
  const frame = Buffer.alloc(7);
  frame[0] = 1;
  frame.writeUInt32BE(payload.length, 3);
  return Buffer.concat([frame, payload, Buffer.from([0xce])]);
}

function short(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([Buffer.from([bytes.length]), bytes]);
}

function long(bytes: Buffer): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
