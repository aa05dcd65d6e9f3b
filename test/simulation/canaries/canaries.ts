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
    // What the footer ends is acknowledged before the sync that comes with the footer.
    find: 'if (this.#durability === "sync" || batch.role === "closed") await this.#sync();',
    replace: `const ends = this.#tasks[0]?.type === "footer";
    if ((this.#durability === "sync" && !ends) || batch.role === "closed") await this.#sync();`,
    scenario: "embedded-crashes",
    rule: /was settled, and is handled again|is handled before its predecessor|did not grow|until every order is published and handled/,
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
    name: "blind retry of an add",
    file: "src/engines/remote/client/remote-key-values.ts",
    find: "return this.#link.call(operations.commit, changes);",
    replace: `return this.#link.call(operations.commit, changes).catch((error) => {
      if (error.outcome !== "unknown") throw error;
      return this.#link.call(operations.commit, changes);
    });`,
    scenario: "key-value",
    rule: /has no place in any order/,
  },
  {
    name: "renew that revives",
    file: "src/engines/embedded/leases/lease-engine.ts",
    find: `    const held = leased.holders.get(holder);
    if (held === undefined || BigInt(held.token) !== token) {
      this.#tidy(leased);`,
    replace: `    const revived = { token: Number(token), weight: 1, capacity: 1, ttlMs, data: undefined };
    const held = leased.holders.get(holder) ?? revived;
    if (BigInt(held.token) !== token) {
      this.#tidy(leased);`,
    scenario: "leases",
    rule: /was told .* that it holds .* after .* had been granted it/,
  },
  {
    name: "lost wake-up",
    file: "src/engines/embedded/leases/lease-engine.ts",
    find: "    this.#changed(leased);\n    this.#grantNext(leased);\n  }\n\n  #changed(leased",
    replace: "    this.#changed(leased);\n  }\n\n  #changed(leased",
    scenario: "leases",
    rule: /did not come to rest/,
  },
  {
    name: "time to live by the wall clock",
    file: "src/engines/embedded/leases/leased-name.ts",
    find: "if (held.expiresAt <= now.wall || held.monotonicEnd <= now.monotonic) {",
    replace: "if (held.expiresAt <= now.wall) {",
    scenario: "leases",
    rule: /did not come to rest/,
  },
  {
    name: "position committed apart from its outputs",
    file: "src/streams/pipe-partition.ts",
    find: "await log.commit(this.#writer, { outputs: all, positions: [this.#standing(position)] });",
    replace: "await log.commit(this.#writer, { outputs: all });\n      await this.#commitPosition(position);",
    scenario: "log",
    rule: /two outputs were made of input/,
  },
  {
    name: "writer that is not fenced",
    file: "src/engines/embedded/log/log-engine.ts",
    find: "if (this.#states.epochOf(name) !== Number(epoch)) throw writerFenced(name, epoch);",
    replace: "if (this.#states.epochOf(name) === undefined) throw writerFenced(name, epoch);",
    scenario: "log",
    rule: /two outputs were made of input|stands behind that of input/,
  },
  {
    name: "sequence of what is stored is forgotten",
    file: "src/engines/embedded/log/log-engine.ts",
    find: "const last = sequences === undefined ? -1 : this.#states.sequence(queue, writer);",
    replace: 'const last = sequences === undefined || writer === "" ? -1 : -1;',
    scenario: "log",
    rule: /two outputs were made of input/,
  },
  {
    name: "rest that is not copied",
    file: "src/moving/topic-move.ts",
    find: "      while (!(await this.#hasReached(ends))) await this.#pause();\n",
    replace: "",
    scenario: "moving",
    rule: /stands behind|was settled/,
  },
  {
    name: "publishers that go ahead of the rest",
    file: "src/moving/topic-move.ts",
    find: "      while (!(await this.#hasReached(ends))) await this.#pause();\n",
    replace: `      await this.#seal({ stage: "copied", fence: 0n });
      while (!(await this.#hasReached(ends))) await this.#pause();
`,
    scenario: "moving",
    rule: /stands behind|was settled/,
  },
  {
    name: "progress that is not carried over",
    file: "src/moving/progress-transfer.ts",
    find: "      if (settled.length > 0 || held.length > 0) await target.commit({ settled, held });\n",
    replace: "",
    scenario: "moving",
    rule: /was attempt|though its settlement|was settled/,
  },
  {
    name: "fences that begin anew",
    file: "src/moving/moving-lane.ts",
    find: "this.fence = lane.fence + fence;",
    replace: "this.fence = lane.fence;",
    scenario: "moving",
    rule: /did not come to rest|under the fence|though the grant/,
  },
  {
    name: "copier that settles before it stores",
    file: "src/moving/lane-copier.ts",
    find: `      if (this.#parts.isForwarding()) for (const message of fetched) await this.#storeOnce(message, signal);
      else for (const batch of batchesOf(fetched, to.messages.capabilities)) await this.#store(batch, signal);
      const settled = fetched.map(({ position }) => position);
      await repeating(to.world, () => lane.commit({ settled }), signal);
`,
    replace: `      const settled = fetched.map(({ position }) => position);
      await repeating(to.world, () => lane.commit({ settled }), signal);
      if (this.#parts.isForwarding()) for (const message of fetched) await this.#storeOnce(message, signal);
      else for (const batch of batchesOf(fetched, to.messages.capabilities)) await this.#store(batch, signal);
`,
    scenario: "moving",
    rule: /stands behind|was settled|is lost/,
  },
  {
    name: "copies of a dead copier that are taken for others",
    file: "src/moving/progress-transfer.ts",
    find: "const isRepeated = original <= this.#last;",
    replace: "const isRepeated = false;",
    scenario: "moving",
    rule: /was attempt|though its settlement|was settled|is stored/,
  },
  {
    name: "progress carried over before everything is copied",
    file: "src/moving/progress-transfer.ts",
    find: "      await this.#untilCopied(description);\n",
    replace: "",
    scenario: "moving",
    rule: /was attempt|though its settlement|was settled/,
  },
];
