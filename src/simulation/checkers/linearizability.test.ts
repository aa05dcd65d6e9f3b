import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Violation } from "../system.ts";
import { checkLinearizable, requireLinearizable, type SequentialModel } from "./linearizability.ts";
import { type Operation, OperationHistory } from "./operation-history.ts";

type Input = { readonly type: "write"; readonly value: number } | { readonly type: "read" };

/** A register that holds one number. */
const register: SequentialModel<number, Input, number> = {
  initial: 0,
  apply: (state, { input, output }) => {
    if (input.type === "write") return [input.value];
    return output === undefined || output === state ? [state] : [];
  },
  keyOf: String,
  changes: ({ input }) => input.type === "write",
  describe: ({ input, output }) => (input.type === "write" ? `write of ${input.value}` : `read (answered ${output})`),
  describeState: (state) => `${state}`,
};

function operation(
  client: string,
  input: Input,
  calledAt: number,
  returnedAt: number | undefined,
  output?: number,
): Operation<Input, number> {
  return { client, input, calledAt, returnedAt, output, called: calledAt, returned: returnedAt };
}

const write = (value: number): Input => ({ type: "write", value });
const read: Input = { type: "read" };

test("operations that overlap may take effect in any order", () => {
  const operations = [
    operation("a", write(1), 0, 10),
    operation("b", read, 1, 3, 0),
    operation("c", read, 4, 6, 1),
    operation("b", write(2), 5, 9),
    operation("c", read, 11, 12, 1),
  ];
  assert.deepEqual(checkLinearizable(register, operations), { type: "linearizable" });
});

test("a read of what was overwritten is found, and named with its instants", () => {
  const operations = [
    operation("a", write(1), 0, 2),
    operation("b", write(2), 3, 5),
    operation("c", read, 6, 8, 1),
    operation("a", read, 9, 10, 2),
  ];
  const verdict = checkLinearizable(register, operations);
  assert.equal(verdict.type, "violated");
  assert.equal(
    verdict.type === "violated" && verdict.sentence,
    "read (answered 1) by c, called at 6 ms and returned at 8 ms, has no place in any order of what was called before it returned; one of the orders leads to 2",
  );
  assert.throws(() => requireLinearizable(register, operations), Violation);
});

test("what one client saw, a later one must not miss", () => {
  const first = operation("a", write(1), 0, 20);
  const seen = operation("b", read, 1, 3, 1);
  assert.equal(checkLinearizable(register, [first, seen, operation("c", read, 4, 6, 0)]).type, "violated");
  assert.equal(checkLinearizable(register, [first, seen, operation("c", read, 2, 6, 0)]).type, "linearizable");
});

test("an operation whose outcome nobody knows takes effect late, or never, but not before its call", () => {
  const unknown = operation("a", write(1), 5, undefined);
  const at = (calledAt: number, value: number) => operation("b", read, calledAt, calledAt + 1, value);
  assert.equal(checkLinearizable(register, [unknown, at(6, 0), at(1_000, 1)]).type, "linearizable");
  assert.equal(checkLinearizable(register, [unknown, at(6, 0), at(1_000, 0)]).type, "linearizable");
  assert.equal(checkLinearizable(register, [at(2, 1), unknown]).type, "violated");
  assert.equal(checkLinearizable(register, [unknown, at(6, 1), at(1_000, 0)]).type, "violated");
});

test("a search that has no end in sight is given up, and says so", () => {
  const operations = Array.from({ length: 14 }, (_, n) => operation("a", write(n + 1), n, undefined));
  operations.push(operation("b", read, 20, 21, 99));
  const verdict = checkLinearizable(register, operations, { stepsMax: 1_000 });
  assert.equal(verdict.type, "undecided");
  assert.throws(() => requireLinearizable(register, operations, { stepsMax: 1_000 }), /could not be decided/);
});

test("each group is checked by itself", () => {
  const groups: SequentialModel<number, Input, number> = {
    ...register,
    partition: (all) => ["a", "b"].map((client) => all.filter((each) => each.client === client)),
  };
  const operations = [operation("a", write(1), 0, 1), operation("b", read, 2, 3, 0)];
  assert.equal(checkLinearizable(register, operations).type, "violated");
  assert.equal(checkLinearizable(groups, operations).type, "linearizable");
});

test("a history keeps what failed without a word as unknown, and leaves out what has not happened", async () => {
  let now = 0;
  const history = new OperationHistory<Input, number>(
    () => now++,
    (error) => (error === "refused" ? "not-applied" : "unknown"),
  );
  await history.record("a", write(1), async () => 1);
  await history.record("a", write(2), () => Promise.reject("refused")).catch(() => {});
  await history.record("a", write(3), () => Promise.reject("lost")).catch(() => {});
  void history.record("a", write(4), () => new Promise(() => {}));
  const told = history.operations.map(({ input, calledAt, returnedAt }) => [input, calledAt, returnedAt]);
  assert.deepEqual(
    history.refused.map(({ input }) => input),
    [write(2)],
  );
  assert.deepEqual(told, [
    [write(1), 0, 1],
    [write(3), 4, undefined],
    [write(4), 6, undefined],
  ]);
});

/** Every order of every choice, without any cleverness. */
function bruteForce(operations: readonly Operation<Input, number>[]): boolean {
  const from = (state: number, open: readonly Operation<Input, number>[]): boolean => {
    if (open.every((each) => each.returned === undefined)) return true;
    return open.some((next) => {
      const others = open.filter((each) => each !== next);
      if (others.some((each) => each.returned !== undefined && each.returned < next.called)) return false;
      return register.apply(state, next).some((after) => from(after, others));
    });
  };
  return from(register.initial, operations);
}

/** What is known of the history after the place. */
function prefix(operations: readonly Operation<Input, number>[], place: number): readonly Operation<Input, number>[] {
  return operations
    .filter(({ called }) => called <= place)
    .map((each) => (each.returned !== undefined && each.returned <= place ? each : { ...each, returned: undefined }));
}

test("the search finds what trying everything finds, and names the end of the shortest prefix that is wrong", () => {
  const arbitrary = fc.array(
    fc.record({
      input: fc.oneof(
        fc.constant(read),
        fc.integer({ min: 1, max: 2 }).map((value) => write(value)),
      ),
      output: fc.integer({ min: 0, max: 2 }),
      startsAt: fc.integer({ min: 0, max: 12 }),
      lasts: fc.integer({ min: 1, max: 8 }),
      known: fc.integer({ min: 0, max: 3 }),
    }),
    { maxLength: 6 },
  );
  const verdicts = { linearizable: 0, violated: 0, undecided: 0 };
  const property = fc.property(arbitrary, (drawn) => {
    let nextPlace = 0;
    const instants = drawn.flatMap(({ startsAt, lasts }, index) => [
      { at: startsAt, index, type: "called" as const },
      { at: startsAt + lasts, index, type: "returned" as const },
    ]);
    instants.sort((a, b) => a.at - b.at || a.index - b.index);
    const places = drawn.map(() => ({ called: 0, returned: 0 }));
    for (const { index, type } of instants) places[index]![type] = nextPlace++;
    const operations = drawn.map(({ input, output, startsAt, lasts, known }, index): Operation<Input, number> => {
      const { called, returned } = places[index]!;
      if (known === 0) {
        return {
          client: "a",
          input,
          calledAt: startsAt,
          returnedAt: undefined,
          output: undefined,
          called,
          returned: undefined,
        };
      }
      const returnedAt = startsAt + lasts;
      return { client: "a", input, calledAt: startsAt, returnedAt, output, called, returned };
    });
    const verdict = checkLinearizable(register, operations);
    verdicts[verdict.type] += 1;
    assert.equal(verdict.type, bruteForce(operations) ? "linearizable" : "violated");
    if (verdict.type !== "violated") return;
    const end = verdict.operation.returned!;
    assert.ok(bruteForce(prefix(operations, end - 1)), "what came before has an order");
    assert.ok(!bruteForce(prefix(operations, end)), "with it there is none");
  });
  fc.assert(property, { numRuns: 3_000, seed: 7 });
  assert.ok(verdicts.linearizable > 500 && verdicts.violated > 500, JSON.stringify(verdicts));
});
