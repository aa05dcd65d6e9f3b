/**
 * What a client and a server of the remote engine say to each other, over one ordered byte stream.
 *
 * FRAMES. `u32` length of what follows · `u8` kind · `u32` id · body. Little endian. A frame beyond the receiver's limit, or one that cannot be read, ends the
 * connection: whoever sends such is no peer of ours. There is no checksum: the stream has its own, and what is stored is checked by the engine.
 *
 *   client → server    hello     magic, version, client's name, number of this connection, heartbeat
 *                      request   id · operation · its request
 *                      cancel    id: the answer is not wanted any more; a wait ends, anything else happens all the same
 *                      ping      id
 *   server → client    welcome   what is served: name, capabilities, topic creation, the largest frame
 *                      part      id · a part of an answer that is a long list; more follows
 *                      answer    id · the answer, or the last part of it
 *                      failure   id · a TenonError; id 0: the connection is refused
 *                      pong      id of the ping
 *
 * REQUESTS are begun in the order in which they arrive, so calls keep their order up to the engine; answers come in any order. A request
 * whose connection breaks before its answer may have happened: the client says `unknown`, and repeats only what is safe (a lease's acquisition, by its holder;
 * what a member asks, by its number).
 *
 * SUCCESSION. What was sent over a connection that its client gave up may still be on its way. So that it cannot take effect behind what is sent later, a
 * connection with a greater number ends those of the same client before it, and nothing more is taken from them, before it is welcomed.
 *
 * HEARTBEATS. The client pings; whoever hears nothing for some of its beats gives the connection up. A ping keeps alive every member that its connection
 * carries; its pong tells the client that they live on from the moment at which the ping was sent.
 *
 * MEMBERS. A membership has a name that its client gave it, belongs to the server and not to a connection, and ends when nobody spoke for it for `sessionMs` by
 * the server's clock. What it asks (news, messages, commits, releases) is numbered, and the server keeps each answer until the client has said that it has it. After a
 * reconnect the client resumes its members: it says which numbers it still waits for, and asks them again. One that had arrived is not done again, its answer is given
 * again; one that had not is done now. So a reply that is lost loses no message, and nothing is committed twice or in another order. A server that does not know the
 * member says so: its session has ended, the lanes have passed on, and the client joins anew as another member.
 *
 * NEWS. Nothing is pushed. A member always has one request open that is answered as soon as there are news: lanes granted, asked back or lost, or its end. Watches are
 * the same: the next events are asked for when the last ones were taken, so a slow reader costs the server a bounded buffer.
 */

export const protocolVersion = 3;
/** `TENN` */
export const magic = 0x4e4e_4554;

export const frameKind = {
  hello: 1,
  welcome: 2,
  request: 3,
  part: 4,
  answer: 5,
  failure: 6,
  cancel: 7,
  ping: 8,
  pong: 9,
} as const;

/** Kind and id. */
export const frameHeadBytes = 5;
/** What may come before a peer is known. */
export const greetingBytesMax = 16 * 1024;
/** The largest frame that a client takes. */
export const answerBytesMax = 64 * 1024 * 1024;
/** The least that a server takes in one request; more where the engine's batches are larger. */
export const requestBytesMin = 32 * 1024 * 1024;
/** About so much of a long answer is one part of it. */
export const partBytes = 256 * 1024;
/** About so much is fetched for a lane with one answer. */
export const fetchBytes = 1024 * 1024;
/** After so many silent beats of the client a connection is given up, on either side. */
export const silentBeatsMax = 3;
/** How long a request for a lease keeps its place in the queue after its connection broke. */
export const placeMs = 3_000;
