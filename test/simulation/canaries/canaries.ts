import type { Canary } from "./canary.ts";

/** The bugs that the simulator has to find, each by the scenario that is named. */
export const canaries: readonly Canary[] = [
  {
    name: "acknowledge before sync",
    file: "src/engines/embedded/journal/writer.ts",
    find: 'if (this.#durability === "sync" || batch.role === "closed") await this.#sync();',
    replace: 'if (batch.role === "closed") await this.#sync();',
    scenario: "embedded-crashes",
    rule: /was settled, and is handled again|is handled before its predecessor|did not grow|until every order is published and handled/,
  },
  {
    name: "snapshot ahead of journal",
    file: "src/engines/embedded/journal/writer.ts",
    find: "await this.#append(bytes);\n    await this.#sync();\n    await this.close();",
    replace: "await this.#append(bytes);\n    await this.close();",
    scenario: "embedded-crashes",
    rule: /refused to open/,
  },
  {
    name: "footer ahead of journal",
    file: "src/engines/embedded/journal/writer.ts",
    // The footer is still written with the word that all before it is durable.
    find: "    if (!this.#synced) await this.#sync();\n    const { bytes, batchBytes } = task.footer;",
    replace: "    this.#durableOffset = this.#written;\n    const { bytes, batchBytes } = task.footer;",
    scenario: "embedded-crashes",
    rule: /refused to open/,
  },
  {
    name: "forget the held key on retry",
    file: "src/messaging/lane-worker.ts",
    find: "    this.#remember(delivery);\n    this.#wakeFetchIfRoom();\n",
    replace: "    this.#remember(delivery);\n    this.#advance(delivery);\n    this.#wakeFetchIfRoom();\n",
    scenario: "embedded-crashes",
    rule: /handled before its predecessor/,
  },
  {
    name: "deduplicate by offset",
    file: "src/engines/embedded/messages/producers.ts",
    find: `    const next = last.sequence + last.count;
    if (mark.sequence >= next) return this.#refuseGap(mark, next, fields);
    const known = batches.find((batch) => batch.sequence === mark.sequence && batch.count === count);`,
    replace: `    if (mark.sequence > last.first) return undefined;
    const known = batches.find((batch) => batch.sequence === mark.sequence && batch.count === count) ?? last;`,
    scenario: "embedded-crashes",
    rule: /until every order is published and handled|handled before its predecessor/,
  },
  {
    name: "settle twice",
    file: "src/engines/embedded/messages/lane-owner.ts",
    find: "if (offset < from || settled.has(offset)) skipMessage(run.reader);",
    replace: "if (offset < from) skipMessage(run.reader);",
    scenario: "embedded-crashes",
    rule: /was settled, and is handled again/,
  },
  {
    name: "grant that is not durable",
    file: "src/engines/embedded/messages/lane-grants.ts",
    find: "this.#writeGrant(recordKind.laneGranted, lane);\n    await this.#store.core.journal.durable();",
    replace: "this.#writeGrant(recordKind.laneGranted, lane);",
    scenario: "embedded-crashes",
    rule: /did not grow/,
  },
  {
    name: "visible before durable",
    file: "src/engines/embedded/messages/message-store.ts",
    find: "this.queues.advance(queue, header.first + header.count, batch);",
    replace: "this.queues.advance(queue, header.first + header.count, 0);",
    scenario: "embedded-crashes",
    rule: /handled/,
  },
];
