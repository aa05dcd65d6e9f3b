/** A Lua script as it stands in its own file; `scripts/lua.ts` makes these from the files. */
export interface Script {
  /** The path of the file within the engine's folder, without its ending. */
  readonly name: string;
  readonly source: string;
  /** What the server knows it by: the SHA-1 of its source, in hexadecimal. */
  readonly sha: string;
}
