import { SeededGenerator } from "../../../src/simulation/seeded-generator.ts";
import type { MessagingSetup } from "./setup.ts";

/** What is published. */
export interface Note {
  readonly number: number;
}

export interface NoteOptions {
  readonly key?: string;
  readonly id?: string;
  readonly delayMs?: number;
  readonly ttlMs?: number;
}

/** What a group's handler does with a note. */
export interface Handling {
  /** How often it throws first. */
  readonly failures: number;
  readonly fate: "resolve" | "dead letter" | "crash";
  readonly sleepMs: number;
  /** At its first attempt it takes longer than anybody waits. */
  readonly hangs: boolean;
}

/** Drawn from the seed and the number alone, so that leaving out a fault changes no note. */
export function optionsOf(seed: number, number: number, { mix, keys }: MessagingSetup): NoteOptions {
  const draws = new SeededGenerator((seed % 2 ** 31) * 1_000_003 + number * 7);
  const options: { -readonly [Name in keyof NoteOptions]: NoteOptions[Name] } = {};
  if (!draws.chance(mix.keyless)) options.key = `k${draws.integer(1, keys)}`;
  if (draws.chance(mix.withId)) options.id = `id-${number}`;
  if (draws.chance(mix.delayed)) options.delayMs = 1 + Math.floor(10_000 ** draws.float());
  if (draws.chance(mix.expiring)) options.ttlMs = (options.delayMs ?? 0) + 1 + Math.floor(10_000 ** draws.float());
  return options;
}

export function handlingOf(seed: number, number: number, group: string, setup: MessagingSetup): Handling {
  const { mix, consuming, killers } = setup;
  const draws = new SeededGenerator((seed % 2 ** 31) * 1_000_003 + number * 7 + 1 + group.length);
  const failures = draws.chance(mix.failing) ? draws.integer(1, consuming.retry.attemptsMax + 1) : 0;
  const dies = number > 0 && number <= killers;
  const end = draws.chance(mix.dead) ? "dead letter" : "resolve";
  return {
    failures,
    fate: dies ? "crash" : end,
    sleepMs: draws.chance(0.5) ? 0 : Math.floor(200 ** draws.float()),
    hangs: draws.chance(mix.hanging),
  };
}
