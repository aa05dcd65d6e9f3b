import type { TenonError } from "../../../contracts/errors.ts";
import { checkJoin } from "../../../contracts/join-options.ts";
import type {
  Batch,
  JoinOptions,
  Membership,
  MessageCapabilities,
  MessageEngine,
  SeekTarget,
  TopicDeclaration,
  TopicDescription,
} from "../../../contracts/messages.ts";
import type { World } from "../../../world/world.ts";
import { operations } from "../wire/operations.ts";
import type { Link } from "./link.ts";
import { Member } from "./member.ts";
import { pause } from "./pause.ts";

/** How long closing may take to give lanes back when the server does not answer. */
const closeMs = 2_000;
/** Less than that no connection keeps alive dependably. */
const sessionMsMin = 100;

/** The `messages` contract of an engine that lives elsewhere. */
export class RemoteMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly #link: Link;
  readonly #world: World;
  readonly #members = new Set<Member>();
  #closed: TenonError | undefined;
  #closing: Promise<void> | undefined;

  constructor(link: Link, world: World, capabilities: MessageCapabilities) {
    this.#link = link;
    this.#world = world;
    this.capabilities = { ...capabilities, sessionMsMin: Math.max(sessionMsMin, capabilities.sessionMsMin) };
  }

  async declare(topic: string, declaration: TopicDeclaration): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.declare, { topic, declaration });
  }

  async topics(): Promise<readonly string[]> {
    this.#throwIfClosed();
    return this.#link.call(operations.topics, undefined);
  }

  async remove(topic: string): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.remove, topic);
  }

  async removeGroup(topic: string, group: string): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.removeGroup, { topic, group });
  }

  async describe(topic: string): Promise<TopicDescription> {
    this.#throwIfClosed();
    return this.#link.call(operations.describeTopic, topic);
  }

  async append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    this.#throwIfClosed();
    return this.#link.call(operations.append, batch);
  }

  async join(topic: string, group: string, options: JoinOptions): Promise<Membership> {
    this.#throwIfClosed();
    checkJoin(options, this.capabilities);
    const member = new Member(this.#link, this.#world, {
      topic,
      group,
      options,
      left: (left) => this.#members.delete(left),
    });
    this.#members.add(member);
    await member.join();
    this.#throwIfClosed();
    return member;
  }

  async seek(topic: string, group: string, to: SeekTarget): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.seek, { topic, group, to });
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  /** Gives every lane back, as far as the server answers soon. Idempotent. */
  close(reason: TenonError): Promise<void> {
    this.#closed ??= reason;
    this.#closing ??= this.#close(reason);
    return this.#closing;
  }

  async #close(reason: TenonError): Promise<void> {
    if (this.#members.size === 0) return;
    const left = new AbortController();
    void Promise.all([...this.#members].map((member) => member.close(reason))).then(() => left.abort());
    await pause(this.#world, closeMs, left.signal);
  }
}
