/** A holder of a name as one key, for maps: the length before the name keeps the two apart. */
export function nameAndHolder(name: string, holder: string): string {
  return `${name.length}:${name}${holder}`;
}
