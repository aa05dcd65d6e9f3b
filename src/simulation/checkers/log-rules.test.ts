import assert from "node:assert/strict";
import { test } from "node:test";
import { checkAppended, checkDerivedOnce, type DerivedRecord, type LogPlace } from "./log-rules.ts";

const at = (partition: number, position: number): LogPlace => ({ partition, position: BigInt(position) });
const made = (partition: number, position: number, from: LogPlace): DerivedRecord => ({
  ...at(partition, position),
  from,
});

test("outputs of every input, each once and in order, are what is wanted", () => {
  const inputs = [at(0, 0), at(0, 1), at(1, 0)];
  checkDerivedOnce(inputs, [made(0, 0, at(1, 0)), made(0, 1, at(0, 0)), made(1, 0, at(0, 1))]);
});

test("an output that is missing, there twice, out of order or of nothing is found", () => {
  const inputs = [at(0, 0), at(0, 1)];
  const both = [made(0, 0, at(0, 0)), made(0, 1, at(0, 1))];
  assert.throws(() => checkDerivedOnce(inputs, both.slice(1)), /no output was made of input 0\/0/);
  assert.throws(() => checkDerivedOnce(inputs, [...both, made(1, 0, at(0, 0))]), /two outputs were made of input 0\/0/);
  assert.throws(() => checkDerivedOnce(inputs, [made(0, 0, at(0, 1)), made(0, 1, at(0, 0))]), /stands behind/);
  assert.throws(() => checkDerivedOnce(inputs, [...both, made(0, 2, at(1, 0))]), /is no input/);
});

test("what one caller appended is judged by what it was told", () => {
  const stored = [
    { ...at(0, 0), value: "a" },
    { ...at(0, 1), value: "b" },
  ];
  const told = (value: string, outcome: "stored" | "refused" | "unknown") => ({ value, outcome });
  checkAppended([told("a", "stored"), told("b", "unknown"), told("c", "unknown"), told("d", "refused")], stored);
  assert.throws(() => checkAppended([told("c", "stored")], stored), /acknowledged, and is not stored/);
  assert.throws(() => checkAppended([told("a", "refused")], stored), /refused, and is stored/);
  assert.throws(() => checkAppended([], [...stored, { ...at(1, 0), value: "a" }]), /at 0\/0 and at 1\/0/);
  assert.throws(() => checkAppended([told("b", "stored"), told("a", "stored")], stored), /before what was appended/);
});
