import type { World } from "../../../world/world.ts";
import { afterConflict } from "../conflicts.ts";
import { type StateStore, valueNames } from "../state-store.ts";
import { LaneValue } from "./lane-value.ts";

export interface ReadLane {
  readonly value: LaneValue;
  readonly revision: number;
}

/** The values of lanes. */
export class LaneValues {
  readonly #state: StateStore;
  readonly #world: World;

  constructor(state: StateStore, world: World) {
    this.#state = state;
    this.#world = world;
  }

  /** `undefined` when its group is gone. */
  async read(topic: number, group: number, partition: number): Promise<ReadLane | undefined> {
    const value = await this.#state.read("reading a lane", valueNames.lane(topic, group, partition));
    return value && { value: LaneValue.decode(value.bytes), revision: value.revision };
  }

  /** The new revision, or `undefined` when the lane is not as it was read. */
  write(topic: number, group: number, partition: number, value: LaneValue, revision: number) {
    return this.#state.write("changing a lane", valueNames.lane(topic, group, partition), value.encode(), revision);
  }

  /** Reads, changes and writes until nobody came between; `false` from `change`: it stays as it is. Answers what was decided, `undefined` when the group is gone. */
  async change(
    topic: number,
    group: number,
    partition: number,
    change: (value: LaneValue) => boolean,
  ): Promise<(ReadLane & { readonly changed: boolean }) | undefined> {
    for (let tries = 0; ; tries++) {
      const read = await this.read(topic, group, partition);
      if (read === undefined) return undefined;
      if (!change(read.value)) return { ...read, changed: false };
      const revision = await this.write(topic, group, partition, read.value, read.revision);
      if (revision !== undefined) return { value: read.value, revision, changed: true };
      await afterConflict(this.#world, tries);
    }
  }
}
