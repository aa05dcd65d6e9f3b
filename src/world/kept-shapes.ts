/** For as long as the process lives. */
const kept: object[] = [];

/**
 * Keeps one object of a class whose objects come and go by the million. V8 forgets the shape of a class when none is left at two collections, and with it all code that it has optimised for that
 * shape: after each pause the first quarter of a million messages would be handled by slow code while it compiles the same again. The sample holds nothing, and nobody reads it.
 */
export function keepShape(sample: object): void {
  kept.push(sample);
}
