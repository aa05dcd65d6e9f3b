/** Statements with `?` by their text; emptied when it has grown to `countMax`. */
const countMax = 1_000;

/** Rewrites `?` to `$1`, `$2`, …, and remembers what it has rewritten. */
export class Placeholders {
  readonly #known = new Map<string, string>();

  numbered(sql: string): string {
    const known = this.#known.get(sql);
    if (known !== undefined) return known;
    const text = numberPlaceholders(sql);
    if (this.#known.size >= countMax) this.#known.clear();
    this.#known.set(sql, text);
    return text;
  }
}

/** In order: strings with escapes, strings, names, dollar-quoted strings, comments, `??`, `?`. */
const token =
  /(?<![A-Za-z0-9_$])[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?<![A-Za-z0-9_$])\$([A-Za-z_][A-Za-z0-9_]*)?\$|--[^\n]*|\/\*|\?\?|\?/gs;

/**
 * `?` outside of strings, quoted names and comments is a parameter; `??` is a question mark, for the operators of PostgreSQL
 * that have one.
 */
export function numberPlaceholders(sql: string): string {
  if (!sql.includes("?")) return sql;
  let text = "";
  let done = 0;
  let count = 0;
  token.lastIndex = 0;
  for (let match = token.exec(sql); match !== null; match = token.exec(sql)) {
    const [found] = match;
    text += sql.slice(done, match.index);
    done = token.lastIndex;
    if (found === "?") text += `$${++count}`;
    else if (found === "??") text += "?";
    else {
      if (found === "/*") done = endOfComment(sql, done);
      else if (found.startsWith("$")) done = endOfDollarQuote(sql, found, done);
      text += sql.slice(match.index, done);
      token.lastIndex = done;
    }
  }
  return text + sql.slice(done);
}

function endOfDollarQuote(sql: string, tag: string, from: number): number {
  const end = sql.indexOf(tag, from);
  return end === -1 ? sql.length : end + tag.length;
}

/** Comments of PostgreSQL nest. */
function endOfComment(sql: string, from: number): number {
  const edge = /\/\*|\*\//g;
  edge.lastIndex = from;
  for (let depth = 1; depth > 0; ) {
    const match = edge.exec(sql);
    if (match === null) return sql.length;
    depth += match[0] === "/*" ? 1 : -1;
  }
  return edge.lastIndex;
}
