/** The lines of a text that comes little by little; a last line without an end is left out. */
export async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let pending: Uint8Array[] = [];
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, from)) {
      pending.push(chunk.subarray(from, end));
      const line = Buffer.concat(pending).toString();
      pending = [];
      from = end + 1;
      if (line !== "") yield line;
    }
    if (from < chunk.length) pending.push(chunk.subarray(from));
  }
}

const newline = 10;
