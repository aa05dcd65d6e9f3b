import type { Session } from "./session.ts";
import type { Command, Parameter, Row } from "./sql.ts";

export type Asked = readonly [command: Command, values?: readonly Parameter[]];
type Answers<A extends readonly Asked[]> = { readonly [Index in keyof A]: readonly Row[] };

/** A transaction at work. */
export interface Transaction {
  run(command: Command, values?: readonly Parameter[]): Promise<readonly Row[]>;
  /**
   * Commands one after the other, none of which changes what anybody sees. A session that pipelines sends them at once, and with them the transaction's beginning where
   * nothing was asked before; each sees what the locks show that those before it took.
   */
  look<A extends readonly Asked[]>(...asked: A): Promise<Answers<A>>;
  /** The last command, whose answer nobody needs; a session that pipelines sends it together with the commit. */
  finish(command: Command, values?: readonly Parameter[]): Promise<void>;
  /** Whether `send` can be used. */
  readonly pipelines: boolean;
  /** Commands one after the other that wait for nothing and go together with the commit, which brings their answers. Only in a session that pipelines. */
  send(command: Command, values?: readonly Parameter[]): Promise<readonly Row[]>;
  /** A text that the server takes as it is, without values. */
  simple(text: string): Promise<void>;
}

/** A transaction of a session, from `BEGIN` on. */
export class OpenTransaction implements Transaction {
  readonly #session: Session;
  readonly #begun: Promise<void>;
  readonly #sent: Promise<unknown>[] = [];

  constructor(session: Session) {
    this.#session = session;
    this.#begun = heardLater(session.simple("BEGIN"));
  }

  async run(command: Command, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    await this.#begun;
    return command(this.#session, values);
  }

  async look<A extends readonly Asked[]>(...asked: A): Promise<Answers<A>> {
    const answers: Promise<readonly Row[]>[] = [];
    for (const [command, values = []] of asked) {
      if (!this.pipelines) await this.#answered(answers);
      answers.push(heardLater(command(this.#session, values)));
    }
    await this.#answered(answers);
    return (await Promise.all(answers)) as unknown as Answers<A>;
  }

  /** Rejects with the first failure, which is why those behind it failed; all have been answered then. */
  async #answered(answers: readonly Promise<unknown>[]): Promise<void> {
    const results = await Promise.allSettled([this.#begun, ...answers]);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  async finish(command: Command, values: readonly Parameter[] = []): Promise<void> {
    await this.#begun;
    if (this.pipelines) this.send(command, values);
    else await command(this.#session, values);
  }

  get pipelines(): boolean {
    return this.#session.pipelines;
  }

  send(command: Command, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    const answer = heardLater(command(this.#session, values));
    this.#sent.push(answer);
    return answer;
  }

  async simple(text: string): Promise<void> {
    await this.#begun;
    await this.#session.simple(text);
  }

  /** Rejects as what was sent with it did, or as the commit. */
  async commit(): Promise<void> {
    if (this.#sent.length === 0) await this.#begun;
    const committed = heardLater(this.#session.commit());
    await this.#answered([...this.#sent, committed]);
  }
}

/** Who needs the answer asks for it later. */
function heardLater<T>(answer: Promise<T>): Promise<T> {
  answer.catch(() => undefined);
  return answer;
}
