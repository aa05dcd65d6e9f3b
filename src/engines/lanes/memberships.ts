import type { TenonError } from "../../contracts/errors.ts";
import type { LaneStore } from "./lane-store.ts";
import { type Joining, Member, type MemberHost } from "./member.ts";

/** How long closing may take to give lanes back when the server does not answer. */
const closeMs = 2_000;

/** The members of an engine, which end with it. */
export class Memberships {
  readonly #host: MemberHost;
  readonly #members = new Set<Member>();

  constructor(host: MemberHost) {
    this.#host = host;
  }

  /** `undefined` when the topic is gone. */
  async join(store: LaneStore, joining: Omit<Joining, "left">): Promise<Member | undefined> {
    const member = new Member(this.#host, store, { ...joining, left: (left) => this.#members.delete(left) });
    this.#members.add(member);
    try {
      if (await member.join()) return member;
      this.#members.delete(member);
      return undefined;
    } catch (error) {
      this.#members.delete(member);
      throw error;
    }
  }

  /** Gives every lane back, as far as the server answers soon. */
  async close(reason: TenonError): Promise<void> {
    const left = Promise.all([...this.#members].map((member) => member.close(reason).catch(() => undefined)));
    const done = new AbortController();
    const overdue = this.#host.world.timers.sleep(closeMs, { signal: done.signal }).catch(() => undefined);
    await Promise.race([left, overdue]);
    done.abort();
  }
}
