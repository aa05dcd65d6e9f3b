/** A source file as the rules see it: comments gone, texts emptied, so that only code can match a pattern. */
export interface SourceCode {
  /** As long as the file, line by line. Each text stands as its number in quotes, as in `import "3"`. */
  readonly code: string;
  /** What the quotes held. */
  readonly texts: readonly string[];
}

const wordsBeforeRegExp = /\b(?:return|typeof|case|in|of|do|else|void|delete|throw|new|await|yield|instanceof)$/;

/** Tells code from comments, texts and regular expressions. It needs no parser, so it does not depend on TypeScript's version. */
export function readSource(source: string): SourceCode {
  const texts: string[] = [];
  let code = "";
  let at = 0;
  /** For each template that is open around `at`: how many braces are open inside its `${`. */
  const templates: number[] = [];

  const skipTo = (end: number): void => {
    code += source.slice(at, end).replace(/[^\n]/g, " ");
    at = end;
  };

  const readText = (quote: string): void => {
    const start = ++at;
    while (at < source.length && source[at] !== quote) at += source[at] === "\\" ? 2 : 1;
    code += `"${texts.length}"`;
    texts.push(source.slice(start, at++));
  };

  /** From behind a backtick or a closing brace to the next `${` or the end of the template. */
  const readTemplate = (): void => {
    const start = at;
    while (at < source.length && source[at] !== "`" && !source.startsWith("${", at)) at += source[at] === "\\" ? 2 : 1;
    code += `"${texts.length}"${"\n".repeat(source.slice(start, at).split("\n").length - 1)}`;
    texts.push(source.slice(start, at));
    if (source.startsWith("${", at)) {
      templates.push(0);
      code += "+(";
      at += 2;
    } else {
      at++;
    }
  };

  const startsRegExp = (): boolean => {
    const before = code.trimEnd();
    return before === "" || /[(,=:[!&|?{};+\-*%<>~^]$/.test(before) || wordsBeforeRegExp.test(before);
  };

  const readRegExp = (): void => {
    let inClass = false;
    at++;
    while (at < source.length && source[at] !== "\n" && (inClass || source[at] !== "/")) {
      if (source[at] === "[") inClass = true;
      if (source[at] === "]") inClass = false;
      at += source[at] === "\\" ? 2 : 1;
    }
    at++;
    code += '"regexp"';
  };

  while (at < source.length) {
    const character = source[at]!;
    const pair = source.slice(at, at + 2);
    if (pair === "//") skipTo(endOf(source, "\n", at));
    else if (pair === "/*") skipTo(endOf(source, "*/", at + 2) + 2);
    else if (character === '"' || character === "'") readText(character);
    else if (character === "`") {
      at++;
      readTemplate();
    } else if (character === "/" && startsRegExp()) readRegExp();
    else if (character === "}" && templates.at(-1) === 0) {
      templates.pop();
      code += ")+";
      at++;
      readTemplate();
    } else {
      if (templates.length > 0 && character === "{") templates[templates.length - 1]!++;
      if (templates.length > 0 && character === "}") templates[templates.length - 1]!--;
      code += character;
      at++;
    }
  }
  return { code, texts };
}

/** What a file imports or re-exports, types too, and dynamic imports. A computed one is `undefined`. */
export function importsOf({
  code,
  texts,
}: SourceCode): { readonly specifier: string | undefined; readonly line: number }[] {
  const statements = /\bfrom\s*"(\d+)"|(?<![.\w])import\s*"(\d+)"|(?<![.\w])import\s*\(\s*(?:"(\d+)"\s*[,)])?/g;
  return [...code.matchAll(statements)].map((match) => {
    const index = match[1] ?? match[2] ?? match[3];
    return { specifier: index === undefined ? undefined : texts[Number(index)], line: lineAt(code, match.index) };
  });
}

export function lineAt(code: string, index: number): number {
  return code.slice(0, index).split("\n").length;
}

function endOf(source: string, end: string, from: number): number {
  const index = source.indexOf(end, from);
  return index === -1 ? source.length : index;
}
