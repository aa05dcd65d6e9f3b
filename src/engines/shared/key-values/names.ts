/**
 * Keys as servers hold them that sort by bytes: CESU-8, which is UTF-8 but for characters beyond U+FFFF, whose two surrogates are encoded each by itself. So names
 * in the order of their bytes are keys in the order of their UTF-16 code units; and the
 * name of a prefix is a prefix of the names.
 */
export function nameOf(key: string): string | Buffer {
  // Without surrogates it is UTF-8, into which the client turns it.
  return surrogate.test(key) ? encoded(key) : key;
}

const surrogate = /[\ud800-\udfff]/;

export function nameBytes(key: string): Buffer {
  return surrogate.test(key) ? encoded(key) : Buffer.from(key);
}

export function keyOf(name: Buffer): string {
  // Only the first byte of a surrogate, and of some Korean and private letters.
  return name.includes(0xed) ? decoded(name) : name.toString();
}

function encoded(key: string): Buffer {
  const bytes = Buffer.allocUnsafe(key.length * 3);
  let at = 0;
  for (let index = 0; index < key.length; index++) {
    const unit = key.charCodeAt(index);
    if (unit < 0x80) bytes[at++] = unit;
    else if (unit < 0x800) {
      bytes[at++] = 0xc0 | (unit >> 6);
      bytes[at++] = 0x80 | (unit & 0x3f);
    } else {
      bytes[at++] = 0xe0 | (unit >> 12);
      bytes[at++] = 0x80 | ((unit >> 6) & 0x3f);
      bytes[at++] = 0x80 | (unit & 0x3f);
    }
  }
  return bytes.subarray(0, at);
}

function decoded(name: Buffer): string {
  const units: string[] = [];
  for (let at = 0; at < name.length; ) {
    const first = name[at]!;
    if (first < 0x80) {
      units.push(String.fromCharCode(first));
      at += 1;
    } else if (first < 0xe0) {
      units.push(String.fromCharCode(((first & 0x1f) << 6) | (name[at + 1]! & 0x3f)));
      at += 2;
    } else {
      const unit = ((first & 0x0f) << 12) | ((name[at + 1]! & 0x3f) << 6) | (name[at + 2]! & 0x3f);
      units.push(String.fromCharCode(unit));
      at += 3;
    }
  }
  return units.join("");
}
