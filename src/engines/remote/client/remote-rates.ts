import type { TenonError } from "../../../contracts/errors.ts";
import type {
  ConcurrencyRule,
  RateCapabilities,
  RateDecision,
  RateEngine,
  RateRule,
} from "../../../contracts/rates.ts";
import { operations } from "../wire/operations.ts";
import type { Link } from "./link.ts";

/** The `rates` contract of an engine that lives elsewhere. Nothing is repeated: what may have been counted is not counted again. */
export class RemoteRates implements RateEngine {
  readonly capabilities: RateCapabilities;
  readonly #link: Link;
  #closed: TenonError | undefined;

  constructor(link: Link, capabilities: RateCapabilities) {
    this.#link = link;
    this.capabilities = capabilities;
  }

  async decide(key: string, rule: RateRule, count: number): Promise<RateDecision> {
    this.#throwIfClosed();
    return this.#link.call(operations.decide, { key, rule, count });
  }

  async enter(key: string, rule: ConcurrencyRule, permit: string): Promise<RateDecision> {
    this.#throwIfClosed();
    return this.#link.call(operations.enter, { key, rule, permit });
  }

  async leave(key: string, rule: ConcurrencyRule, permit: string): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.leave, { key, rule, permit });
  }

  async reset(key: string, rule: RateRule | ConcurrencyRule): Promise<void> {
    this.#throwIfClosed();
    await this.#link.call(operations.reset, { key, rule });
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
  }
}
