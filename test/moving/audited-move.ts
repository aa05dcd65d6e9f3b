import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { bytes, topic } from "tenon/messaging";
import type { MoveProgress, MoveStage } from "tenon/moving";
import { Ledger } from "./ledger.ts";
import { type MoveLine, type Participant, Processes } from "./processes.ts";
import type { Numbered } from "./reports.ts";
import { environmentOf, open, type Site, type SiteEngine } from "./site.ts";

export interface MovePlan {
  readonly site: (processes: Processes) => Promise<Site>;
  /** Whether messages are delayed, too. */
  readonly delays: boolean;
  /** The stages in which the command is killed, one run after the other, before the one that comes to the end. */
  readonly killedAt: readonly MoveProgress["stage"][];
  /** How many messages are published before the move; a quarter of them follows it. */
  readonly count: number;
}

const groups = ["billing", "shipping", "statistics"];
/** Its consumers come after the move. */
const lateGroup = "late";
/** Longer than a session, whose messages pass on when it ends. */
const settledMsMax = 40_000;
/** Publishers are held up while most is still to be copied, which would be too late if they were not. */
const parameters = ["orders", "--lag-max", "1000000"];

/** Moves a topic that is in use, with the command being killed, and compares what was handled with what was published. */
export async function auditedMove(t: TestContext, plan: MovePlan): Promise<void> {
  const ledger = new Ledger();
  const processes = new Processes(ledger);
  t.after(() => processes.kill());
  const site = await plan.site(processes);
  const environment = environmentOf(site);
  await using from = await open(site.from);
  await using to = await open(site.to);
  await useBefore(from);

  const start = (name: string, ...args: string[]): Promise<Participant> => processes.start(name, args, environment);
  const delays = plan.delays ? "delays" : "none";
  const [consumers, publishers] = await Promise.all([
    Promise.all([1, 2].map(() => start("consumer.ts", ...groups))),
    Promise.all(["p", "q"].map((name) => start("publisher.ts", name, delays))),
  ]);
  await ledger.untilPublished(plan.count);

  const begun = performance.now();
  const note = (what: string) =>
    t.diagnostic(`${what} after ${Math.round(performance.now() - begun)} ms, ${ledger.publishedCount} published`);
  for (const stage of plan.killedAt) {
    const { code, lines, errors } = await processes.migrate(parameters, environment, killing(stage));
    assert.equal(code, null, `it is killed while ${stage}: ${errors}${JSON.stringify(lines.at(-1))}`);
    note(`killed while ${stage}`);
  }
  const { code, lines, errors } = await processes.migrate(parameters, environment);
  assert.deepEqual([code, errors, lines.at(-1)?.event], [0, "", "moved"]);
  note("moved");
  await ledger.untilPublished(plan.count / 4);

  await Promise.all(publishers.map((publisher) => publisher.stop()));
  await untilSettled(to, groups);
  note("settled");
  await Promise.all(consumers.map((consumer) => consumer.stop()));
  const late = await start("consumer.ts", lateGroup);
  await untilSettled(to, [lateGroup]);
  await late.stop();

  // A command that is killed when consumers are there may have sent a delayed message, and not have written down that it has.
  const mayRepeat = ({ key }: Numbered) => plan.killedAt.includes("moved") && key.startsWith("later");
  const faults = [...groups, lateGroup].flatMap((group) => ledger.faults(group, mayRepeat));
  assert.deepEqual(faults.slice(0, 20), [], `${faults.length} faults in ${ledger.publishedCount} messages`);
  await verifyDeadLetters(to, ledger);
  await verifyLeft(from);
  note("audited");
}

/** As it was used before anybody thought of moving it: its topics of dead letters and retries are there. */
async function useBefore(engine: SiteEngine): Promise<void> {
  await using orders = topic(engine, "orders", { codec: bytes(), partitions: 4, groups: [...groups, lateGroup] });
  for (const group of groups) await (await orders.consume(group, () => undefined)).close();
}

/** Kills the command when it says for the second time that it is there, or for the first time where it stays only once: then it is at work. */
function killing(stage: MoveProgress["stage"]): (line: MoveLine, kill: (signal: NodeJS.Signals) => void) => void {
  let left = stage === "copying" ? 2 : 1;
  return (line, kill) => {
    if (line.topic === "orders" && line.stage === stage && --left === 0) kill("SIGKILL");
  };
}

/** Until nothing is left to be handled there; what is missing then will never come. */
async function untilSettled(engine: SiteEngine, names: readonly string[]): Promise<void> {
  const end = performance.now() + settledMsMax;
  for (;;) {
    const description = await engine.messages.describe("orders");
    const lanes = description.groups.filter(({ group }) => names.includes(group)).flatMap((each) => each.lanes);
    const left = lanes.reduce((sum, { lag }) => sum + lag, description.delayedCount);
    if (left === 0) return;
    const stands = lanes.map(({ low, lag, held }) => `${low}: ${lag}, ${held} held`).join("; ");
    assert.ok(performance.now() < end, `${names} still have to settle ${left} messages (${stands})`);
    await sleep(50);
  }
}

/** What a group gave up before the move and after it is on the engine where the topic is. */
async function verifyDeadLetters(engine: SiteEngine, ledger: Ledger): Promise<void> {
  await using orders = topic(engine, "orders", { codec: bytes(), partitions: 4 });
  const letters = await orders.deadLetters("shipping").peek(10_000);
  const names = letters.map(({ body }) => Buffer.from(body).toString());
  const expected = ledger.givenUp("shipping").map((message) => JSON.stringify(message));
  assert.ok(expected.length > 0);
  assert.deepEqual(names.toSorted(), expected.toSorted(), "dead letters");
}

/** The topic is closed where it was, and the move has left nothing else behind. */
async function verifyLeft(engine: SiteEngine): Promise<void> {
  const { sealed, groups: left } = await engine.messages.describe("orders");
  const stage: MoveStage = "moved";
  assert.match(sealed ?? "", new RegExp(stage));
  assert.deepEqual(left.map(({ group }) => group).toSorted(), [...groups, lateGroup].toSorted());
  assert.ok(left.every(({ members }) => members === 0));
}
