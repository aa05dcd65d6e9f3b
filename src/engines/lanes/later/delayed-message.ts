import type { Batch, MessageHeaders, NewMessage, ProducerMark, Stored } from "../../../contracts/messages.ts";

/** When it is due. */
const dueHeader = "tenon-later-due";
/** When it is looked at again; in levels above 0. */
const lookHeader = "tenon-later-look";
/** Which message of which producer it is, so that one that was stored twice is known. */
const fromHeader = "tenon-later-from";

/** The delayed ones of a batch as they are kept. */
export function kept({ messages, producer }: Batch): NewMessage[] {
  return messages.flatMap((message, index) => {
    const { dueAt, ...rest } = message;
    if (dueAt === undefined) return [];
    const headers = { ...message.headers, [dueHeader]: String(dueAt) };
    return [
      { ...rest, headers: producer === undefined ? headers : { ...headers, [fromHeader]: nameOf(producer, index) } },
    ];
  });
}

function nameOf({ id, epoch, sequence }: ProducerMark, index: number): string {
  return `${epoch} ${sequence + index} ${id}`;
}

export function dueAtOf({ headers }: Stored): number {
  return Number(headers?.[dueHeader]);
}

export function lookAtOf({ headers }: Stored): number {
  return Number(headers?.[lookHeader]);
}

export function identityOf({ headers }: Stored): string | undefined {
  return headers?.[fromHeader];
}

/** As it was published. */
export function published(message: Stored): NewMessage {
  return copied(message, ({ [dueHeader]: _due, [lookHeader]: _look, [fromHeader]: _from, ...rest }) => rest);
}

/** For a level where it waits until `lookAt`; for level 0 where that is `undefined`. Only where it was stored first it is known as stored twice. */
export function moved(message: Stored, lookAt: number | undefined): NewMessage {
  return copied(message, ({ [lookHeader]: _look, [fromHeader]: _from, ...rest }) => {
    return lookAt === undefined ? rest : { ...rest, [lookHeader]: String(lookAt) };
  });
}

function copied({ body, key, id, headers }: Stored, change: (headers: MessageHeaders) => MessageHeaders): NewMessage {
  const changed = change(headers ?? {});
  return { body, key, id, headers: Object.keys(changed).length === 0 ? undefined : changed };
}
