import type { ByteReader, ByteWriter } from "../../lanes/index.ts";
import type { Command } from "./commands.ts";

/** Commands of transactions that are not decided, by their producer: a producer has one transaction at a time. */
export class OpenTransactions {
  readonly #commands = new Map<string, Command[]>();

  hold(producer: string, command: Command): void {
    this.#commands.set(producer, [...(this.#commands.get(producer) ?? []), command]);
  }

  /** The producer's transaction ends. */
  take(producer: string): readonly Command[] {
    const commands = this.#commands.get(producer) ?? [];
    this.#commands.delete(producer);
    return commands;
  }

  /** Whether one of them says where a reader stands in a log. */
  moves(log: number, reader: string): boolean {
    const isSuch = (command: Command) =>
      command.kind === "committed" && command.positions.some(([number, , name]) => number === log && name === reader);
    for (const commands of this.#commands.values()) if (commands.some(isSuch)) return true;
    return false;
  }

  encode(writer: ByteWriter): void {
    writer.whole(this.#commands.size);
    for (const [producer, commands] of this.#commands) writer.text(producer).text(JSON.stringify(commands));
  }

  static decode(reader: ByteReader): OpenTransactions {
    const open = new OpenTransactions();
    for (let left = reader.whole(); left > 0; left--) {
      open.#commands.set(reader.text(), JSON.parse(reader.text()) as Command[]);
    }
    return open;
  }
}
