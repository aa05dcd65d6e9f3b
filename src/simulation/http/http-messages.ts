import type { FramedConnection } from "./framed-connection.ts";

/** Bodies are held in memory, on both sides. */
export const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;

export interface RequestHead {
  readonly method: string;
  /** The host and port as the client calls them, as in a `Host` header. */
  readonly host: string;
  /** The path with its query. */
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export interface ResponseHead {
  readonly status: number;
  readonly statusText: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
}

/** What stands between the two sides: a head as JSON, and a body. It is not HTTP/1.1, which nobody here would read. */
export interface HttpMessage<Head> {
  readonly head: Head;
  /** `undefined`: there is none, which is not the same as an empty one. */
  readonly body: Uint8Array<ArrayBuffer> | undefined;
}

export async function writeMessage<Head extends object>(
  connection: FramedConnection,
  { head, body }: HttpMessage<Head>,
): Promise<void> {
  const text = JSON.stringify({ ...head, hasBody: body !== undefined });
  await connection.write(Buffer.from(text), body ?? new Uint8Array(0));
}

/** `undefined` when the other side has nothing to say. */
export async function readMessage<Head>(connection: FramedConnection): Promise<HttpMessage<Head> | undefined> {
  const first = await connection.read();
  const second = first && (await connection.read());
  if (first === undefined || second === undefined) return undefined;
  const head = JSON.parse(Buffer.from(first).toString()) as Head & { readonly hasBody: boolean };
  return { head, body: head.hasBody ? new Uint8Array(second) : undefined };
}

/** The whole body. Settles without a turn of the event loop, unless it is made of blobs. */
export async function bodyOf(message: Request | Response): Promise<Uint8Array<ArrayBuffer> | undefined> {
  return message.body === null ? undefined : new Uint8Array(await message.arrayBuffer());
}
