/** How many bytes the string takes in UTF-8. Short ASCII strings, the usual keys and ids, are counted without a native call. */
export function utf8Length(text: string): number {
  if (text.length > 64) return Buffer.byteLength(text);
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 127) return Buffer.byteLength(text);
  return text.length;
}

/** Writes the string, which takes `length` bytes, and answers the position behind it. */
export function writeUtf8(buffer: Buffer, at: number, text: string, length: number): number {
  if (length === text.length && length <= 32) {
    for (let i = 0; i < length; i++) buffer[at + i] = text.charCodeAt(i);
  } else buffer.write(text, at, length, "utf8");
  return at + length;
}
