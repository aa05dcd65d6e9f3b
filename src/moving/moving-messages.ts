import { isCode, TenonError } from "../contracts/errors.ts";
import type {
  Batch,
  JoinOptions,
  Membership,
  MessageCapabilities,
  MessageEngine,
  SeekTarget,
  TopicDeclaration,
  TopicDescription,
} from "../contracts/messages.ts";
import { checkDeclaration } from "../contracts/topic-declarations.ts";
import { CarriedProducers } from "./carried-producers.ts";
import { Doubts } from "./doubts.ts";
import type { MessagingEngine } from "./engines.ts";
import { isUnknown, onItsWay } from "./failures.ts";
import { jointCapabilities } from "./joint-capabilities.ts";
import { readMoveNote } from "./move-note.ts";
import type { AppendRoutes } from "./moving-lane.ts";
import { MovingMembership } from "./moving-membership.ts";
import { type Stage, TopicPlace } from "./topic-place.ts";

/** How long a declaration waits for publishers to be let on. */
const closingMsMax = 30_000;

/** The `messages` contract over two engines: each topic is where it is, and what is asked of it goes there. */
export class MovingMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly #from: MessagingEngine;
  readonly #to: MessagingEngine;
  readonly #pollMs: number;
  readonly #places = new Map<string, TopicPlace>();
  readonly #producers = new CarriedProducers();
  readonly #doubts = new Doubts();

  constructor(from: MessagingEngine, to: MessagingEngine, pollMs: number) {
    this.capabilities = jointCapabilities(from.messages.capabilities, to.messages.capabilities);
    this.#from = from;
    this.#to = to;
    this.#pollMs = pollMs;
  }

  #place(topic: string): TopicPlace {
    let place = this.#places.get(topic);
    if (place === undefined) {
      place = new TopicPlace(topic, this.#from, this.#to, this.#pollMs);
      this.#places.set(topic, place);
    }
    return place;
  }

  /** A topic that is on neither engine is made on the one that others move to. */
  async declare(topic: string, declaration: TopicDeclaration): Promise<void> {
    checkDeclaration(topic, declaration, this.capabilities);
    const stage = await this.#place(topic).settled(closingMsMax);
    if (stage === "closing") throw onItsWay(topic, "declaring it");
    await (stage === "open" ? this.#from : this.#to).messages.declare(topic, declaration);
  }

  async topics(): Promise<readonly string[]> {
    const names = await Promise.all([this.#from.messages.topics(), this.#to.messages.topics()]);
    return [...new Set(names.flat())].sort();
  }

  /** What has moved stands on both engines. */
  async remove(topic: string): Promise<void> {
    const place = this.#place(topic);
    const stage = await this.#stage(place);
    if (stage === "closing" || stage === "copied") throw onItsWay(topic, "removing it");
    if (stage === "open") await this.#from.messages.remove(topic);
    else {
      await this.#to.messages.remove(topic);
      await this.#from.messages.remove(topic).catch(unlessMissing);
    }
    place.forget();
  }

  async removeGroup(topic: string, group: string): Promise<void> {
    await (await this.#progressOf(topic, "removing a group")).messages.removeGroup(topic, group);
  }

  async describe(topic: string): Promise<TopicDescription> {
    const stage = await this.#stage(this.#place(topic));
    const there = stage === "moved" || stage === "absent" ? this.#to : this.#from;
    return await there.messages.describe(topic);
  }

  /** Rejects with `unavailable` while the topic is neither here nor there; then it is repeated as after an outage. */
  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    const place = this.#place(batch.topic);
    const stage = place.known();
    if (stage === "open") return this.#appendHere(place, batch);
    if (stage === "moved") return this.#appendThere(batch);
    return this.#appendSomewhere(place, batch);
  }

  async #appendSomewhere(place: TopicPlace, batch: Batch): Promise<readonly (bigint | undefined)[]> {
    const stage = await place.known();
    if (stage === "closing") throw onItsWay(batch.topic, "publishing");
    return await (stage === "open" ? this.#appendHere(place, batch) : this.#appendThere(batch));
  }

  async #appendHere(place: TopicPlace, batch: Batch): Promise<readonly (bigint | undefined)[]> {
    try {
      const positions = await this.#from.messages.append(batch);
      this.#doubts.forget(batch);
      return positions;
    } catch (error) {
      if (isUnknown(error)) this.#doubts.add(batch);
      if (!isSealedToMove(error) && !isCode(error, "not-found")) throw error;
      await place.look();
      const stage = await place.settled(this.#pollMs);
      // A seal that is still being put on partition after partition is refused with before a description tells of it.
      if (stage === "closing" || (stage === "open" && isSealedToMove(error))) throw onItsWay(batch.topic, "publishing");
      if (stage === "open") throw error;
      return await this.#appendThere(batch);
    }
  }

  async #appendThere(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    const before = this.#doubts.has(batch) ? await this.#storedBefore(batch) : undefined;
    if (before !== undefined) return before;
    const renumbered = this.#producers.renumbered(batch);
    return await (renumbered === undefined ? this.#from.messages.append(batch) : this.#to.messages.append(renumbered));
  }

  /** The positions that a batch got before its topic left; `undefined` when it was not stored there, which it cannot be any more. */
  async #storedBefore(batch: Batch): Promise<readonly (bigint | undefined)[] | undefined> {
    const positions = await this.#from.messages.append(batch).catch((error: unknown) => {
      if (!isCode(error, "denied", "not-found")) throw error;
      return undefined;
    });
    this.#doubts.forget(batch);
    return positions;
  }

  /** A member that joins while the topic is under way gets its lanes when that has arrived. */
  async join(topic: string, group: string, options: JoinOptions): Promise<Membership> {
    const place = this.#place(topic);
    let stage = await this.#stage(place);
    if (stage === "closing" && !(await this.#isGroupHere(topic, group))) {
      stage = await place.settled(closingMsMax);
      if (stage === "closing") throw onItsWay(topic, "joining it as a new group");
    }
    const appends = (departs: boolean): AppendRoutes => this.#routes(departs);
    const parts = { place, to: this.#to, group, options, appends };
    if (stage === "copied") {
      if (!(await this.#isGroupHere(topic, group))) await this.#begin(topic, group, options);
      return MovingMembership.onItsWay(parts);
    }
    const departs = stage === "open" || stage === "closing";
    const membership = await (departs ? this.#from : this.#to).messages.join(topic, group, options);
    if (!departs) return MovingMembership.arrived(parts, membership);
    const now = await place.lookAnew();
    if (now !== "copied" && now !== "moved") return MovingMembership.departing(parts, membership);
    // The topic left while it joined, perhaps after its groups had been listed.
    await membership.leave();
    await this.#begin(topic, group, options);
    return MovingMembership.onItsWay(parts);
  }

  /** Publishers are on the other engine already: a group that is new has to begin there before its member is told that it has joined. */
  async #begin(topic: string, group: string, options: JoinOptions): Promise<void> {
    if (options.ephemeral) return;
    const { messages } = this.#to;
    const { groups, partitions } = await messages.describe(topic);
    if (groups.some((each) => each.group === group)) return;
    if (options.from === undefined || options.from === "now") {
      return await messages.declare(topic, { partitions: partitions.length, groups: [group] });
    }
    await (await messages.join(topic, group, options)).leave();
  }

  async #isGroupHere(topic: string, group: string): Promise<boolean> {
    return (await this.#from.messages.describe(topic)).groups.some((each) => each.group === group);
  }

  #routes(departs: boolean): AppendRoutes {
    return {
      elsewhere: (batch) => this.append(batch),
      inDoubt: (appends) => {
        if (departs) for (const batch of appends) this.#doubts.add(batch);
      },
      direct: (appends) => {
        const here = departs ? "open" : "moved";
        if (appends.some(({ topic }) => this.#place(topic).stage !== here)) return undefined;
        if (departs) return appends;
        if (appends.some((batch) => this.#doubts.has(batch))) return undefined;
        const renumbered = appends.map((batch) => this.#producers.renumbered(batch));
        return renumbered.some((batch) => batch === undefined) ? undefined : (renumbered as readonly Batch[]);
      },
    };
  }

  async seek(topic: string, group: string, to: SeekTarget): Promise<void> {
    await (await this.#progressOf(topic, "seeking")).messages.seek(topic, group, to);
  }

  /** The engine on which the topic's groups stand. */
  async #progressOf(topic: string, what: string): Promise<MessagingEngine> {
    const stage = await this.#stage(this.#place(topic));
    if (stage === "closing" || stage === "copied") throw onItsWay(topic, what);
    return stage === "open" ? this.#from : this.#to;
  }

  /** As it is now: who asks for lanes or descriptions can wait for that. */
  #stage(place: TopicPlace): Promise<Stage> {
    return place.look();
  }
}

function isSealedToMove(error: unknown): boolean {
  if (!(error instanceof TenonError) || error.code !== "denied") return false;
  return typeof error.fields.sealed === "string" && readMoveNote(error.fields.sealed) !== undefined;
}

function unlessMissing(error: unknown): void {
  if (!isCode(error, "not-found")) throw error;
}
