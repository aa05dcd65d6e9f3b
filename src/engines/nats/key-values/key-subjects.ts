import { keyOf, nameBytes } from "../../shared/key-values/names.ts";

/** So many bytes of a key are one token of its subject. */
const tokenBytes = 8;
/** Ends a subject. A token of bytes has at least two characters. */
const end = "e";

/**
 * Keys as subjects: the bytes of the name, eight to a token, in base64url, as subjects take few characters and treat some as signs. So keys with a common beginning have common first tokens, by which the server
 * looks for them; what a token has beyond the prefix is looked at here.
 */
export class KeySubjects {
  /** What every subject begins with. */
  readonly root: string;

  constructor(root: string) {
    this.root = root;
  }

  subjectOf(key: string): string {
    return `${this.root}.${[...tokensOf(nameBytes(key)), end].join(".")}`;
  }

  keyOf(subject: string): string {
    const tokens = subject.slice(this.root.length + 1, -end.length - 1).split(".");
    return keyOf(Buffer.concat(tokens.map((token) => Buffer.from(token, "base64url"))));
  }

  /** Matches every key with the prefix, and some others. */
  filterOf(prefix: string): string {
    const name = nameBytes(prefix);
    const whole = name.subarray(0, name.length - (name.length % tokenBytes));
    return [this.root, ...tokensOf(whole), ">"].join(".");
  }
}

function tokensOf(name: Buffer): string[] {
  const tokens: string[] = [];
  for (let at = 0; at < name.length; at += tokenBytes) {
    tokens.push(name.subarray(at, at + tokenBytes).toString("base64url"));
  }
  return tokens;
}
