import { converse } from "./exchange.ts";

export type Reply = string | number | null | readonly Reply[];

/** One command on a connection of its own. An error reply rejects. */
export function redisCommand(url: string, ...words: readonly (string | number)[]): Promise<Reply> {
  return converse(url, async (exchange) => {
    const { username, password } = new URL(url);
    if (password !== "") {
      exchange.send(encode(username === "" ? ["AUTH", password] : ["AUTH", username, password]));
      await exchange.receive(wholeReply);
    }
    exchange.send(encode(words));
    const reply = await exchange.receive(wholeReply);
    return reply.value;
  });
}

function encode(words: readonly (string | number)[]): string {
  const parts = words.map((word) => `$${Buffer.byteLength(String(word))}\r\n${word}\r\n`);
  return `*${words.length}\r\n${parts.join("")}`;
}

interface Parsed {
  readonly value: Reply;
  readonly end: number;
}

function wholeReply(received: Buffer): Parsed | undefined {
  return parseReply(received, 0);
}

/** `undefined` while a part is missing. */
export function parseReply(bytes: Buffer, start: number): Parsed | undefined {
  const lineEnd = bytes.indexOf("\r\n", start);
  if (lineEnd < 0) return undefined;
  const line = bytes.toString("utf8", start + 1, lineEnd);
  const after = lineEnd + 2;
  switch (String.fromCharCode(bytes[start]!)) {
    case "+":
      return { value: line, end: after };
    case "-":
      throw new Error(line);
    case ":":
      return { value: Number(line), end: after };
    case "$": {
      const length = Number(line);
      if (length < 0) return { value: null, end: after };
      if (bytes.length < after + length + 2) return undefined;
      return { value: bytes.toString("utf8", after, after + length), end: after + length + 2 };
    }
    case "*": {
      const items: Reply[] = [];
      let end = after;
      for (let count = Number(line); count > 0; count--) {
        const item = parseReply(bytes, end);
        if (item === undefined) return undefined;
        items.push(item.value);
        end = item.end;
      }
      return { value: items, end };
    }
    default:
      throw new Error("the server does not speak Redis' protocol");
  }
}
