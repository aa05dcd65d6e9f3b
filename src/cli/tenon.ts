import { migrateTopic, migrateTopicUsage } from "./migrate-topic.ts";
import type { Surroundings } from "./surroundings.ts";
import { UsageError } from "./usage-error.ts";

const usage = `Usage: tenon COMMAND

  migrate-topic   moves a topic from one engine to another one while it is used

tenon COMMAND --help says more.
`;

const commands: Readonly<
  Record<string, { readonly usage: string; run(args: readonly string[], surroundings: Surroundings): Promise<number> }>
> = {
  "migrate-topic": { usage: migrateTopicUsage, run: migrateTopic },
};

/** Runs a command line, and answers its exit code; 2 for one that makes no sense. */
export async function tenon([name, ...args]: readonly string[], surroundings: Surroundings): Promise<number> {
  const { out, error: errors } = surroundings;
  const command = name === undefined ? undefined : commands[name];
  if (name === "--help" || (command !== undefined && args.includes("--help"))) {
    out.write(command?.usage ?? usage);
    return 0;
  }
  try {
    if (command !== undefined) return await command.run(args, surroundings);
    throw new UsageError(name === undefined ? "a command is missing" : `there is no command ${name}`);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const help = command === undefined ? "tenon --help" : `tenon ${name} --help`;
    errors.write(`tenon: ${error.message}; see ${help}\n`);
    return 2;
  }
}
