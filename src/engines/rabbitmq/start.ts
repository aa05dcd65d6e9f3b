import { TenonError } from "../../contracts/errors.ts";
import type { RabbitmqQueueOptions } from "./clients.ts";
import type { RabbitmqConnection } from "./connection.ts";
import { Gone, Locked } from "./failures.ts";
import type { LockedValues } from "./locked-values.ts";
import { emptyCatalogue, encodeCatalogue } from "./messages/catalogue.ts";
import type { Names } from "./names.ts";

/** How soon it is looked again whether somebody else is done. */
const lookAgainMs = 50;

/** Makes what everything else starts from, when it is not there: the catalogue's record and an exchange for news. Who begins at the same time waits. */
export async function makeStart(
  connection: RabbitmqConnection,
  values: LockedValues,
  names: Names,
  queue: RabbitmqQueueOptions,
): Promise<void> {
  const { world, commandTimeoutMs } = connection;
  const deadline = world.clock.monotonic() + commandTimeoutMs;
  for (;;) {
    try {
      await connection.with("making the first queues", async (channel) => {
        // An exclusive queue is its connection's alone, and goes with it.
        await channel.declareQueue(names.making, { exclusive: true, durable: false });
      });
      break;
    } catch (error) {
      if (!(error instanceof Locked)) throw error;
      if (world.clock.monotonic() >= deadline) {
        const text = `Another process has been making the first queues of ${names.prefix} for ${commandTimeoutMs} ms. Try again, or stop that one.`;
        throw new TenonError("unavailable", text, { fields: { prefix: names.prefix } });
      }
      await world.timers.sleep(lookAgainMs);
    }
  }
  try {
    if (await isThere(connection, names)) return;
    await connection.with("making the first queues", async (channel) => {
      await values.remove(channel, names.catalogue);
      await channel.declareExchange(names.news, "direct");
      await values.make(channel, names.catalogue, encodeCatalogue(emptyCatalogue));
      await channel.declareQueue(names.version, queue);
    });
  } finally {
    await connection.with("making the first queues", (channel) => channel.deleteQueue(names.making));
  }
}

/** `not-found` when it was never made. */
export async function startIsThere(connection: RabbitmqConnection, names: Names): Promise<void> {
  if (await isThere(connection, names)) return;
  const text = `The queues ${names.prefix}.… are not there. Make them with the option queues: "make".`;
  throw new TenonError("not-found", text, { fields: { prefix: names.prefix } });
}

async function isThere(connection: RabbitmqConnection, names: Names): Promise<boolean> {
  try {
    await connection.with("looking for the first queues", (channel) => channel.checkQueue(names.version));
    return true;
  } catch (error) {
    if (error instanceof Gone) return false;
    throw error;
  }
}
