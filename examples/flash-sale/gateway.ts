import { type Consumer, TenonError, type Topic } from "tenon/messaging";
import type { LocalLimiter } from "tenon/traffic";
import type { World } from "tenon/world";
import type { Answer, AnswerBatch, PurchaseRequest, QueuedRequest, Verdict } from "./model.ts";
import { sessionMs } from "./topics.ts";
import { WaitingRoom } from "./waiting-room.ts";

/** Takes a buyer's request and answers it. */
export interface Gateway {
  purchase(request: PurchaseRequest): Promise<Answer>;
  close(): Promise<void>;
}

/** Requests older than this are dropped by the stock service; well before their buyers stop waiting. */
const deadlineMs = 10_000;
const answerTimeoutMs = 12_000;
const listenAgainMs = 200;

/** Puts admitted requests on the topic of requests and waits for the answers that come back on its own topic. */
export class QueueingGateway implements Gateway {
  readonly #id: string;
  readonly #world: World;
  readonly #bucket: LocalLimiter;
  readonly #requests: Topic<QueuedRequest>;
  readonly #answers: Topic<AnswerBatch>;
  readonly #waitingRoom: WaitingRoom;
  readonly #closing = new AbortController();
  #listener: Consumer | undefined;

  private constructor(
    id: string,
    world: World,
    bucket: LocalLimiter,
    requests: Topic<QueuedRequest>,
    answers: Topic<AnswerBatch>,
  ) {
    this.#id = id;
    this.#world = world;
    this.#bucket = bucket;
    this.#requests = requests;
    this.#answers = answers;
    this.#waitingRoom = new WaitingRoom(world, answerTimeoutMs);
  }

  static async open(
    id: string,
    world: World,
    bucket: LocalLimiter,
    requests: Topic<QueuedRequest>,
    answers: Topic<AnswerBatch>,
  ): Promise<QueueingGateway> {
    const gateway = new QueueingGateway(id, world, bucket, requests, answers);
    void gateway.#listenOn(await gateway.#listen());
    return gateway;
  }

  /** What was sent to a former process of this gateway is nobody's any more, and must not be waited for. */
  async #listen(): Promise<Consumer> {
    this.#listener = await this.#answers.broadcast(
      (batch) => {
        for (const [requestId, verdict] of batch) this.#waitingRoom.answer(requestId, verdict);
      },
      { sessionMs, signal: this.#closing.signal },
    );
    return this.#listener;
  }

  /** A subscription ends with its session, as when the engine was away for longer. Those whose answers came meanwhile ask again. */
  async #listenOn(listener: Consumer): Promise<void> {
    let current: Consumer | undefined = listener;
    while (!this.#closing.signal.aborted) {
      try {
        current ??= await this.#listen();
        await current.closed;
      } catch (error) {
        if (error instanceof TenonError && error.code === "closed") return;
        await this.#world.timers.sleep(listenAgainMs, { signal: this.#closing.signal }).catch(() => undefined);
      }
      current = undefined;
    }
  }

  purchase(request: PurchaseRequest): Promise<Answer> {
    if (!this.#bucket.tryTake().allowed) return limited;
    const { requestId, buyer, item, quantity } = request;
    const answer = this.#waitingRoom.wait(requestId);
    const deadline = this.#world.clock.now() + deadlineMs;
    this.#requests
      .publish({ requestId, buyer, item, quantity, gateway: this.#id, deadline })
      .catch(() => this.#waitingRoom.answer(requestId, "unavailable"));
    return answer;
  }

  async close(): Promise<void> {
    this.#closing.abort(new Error("the gateway closes"));
    this.#waitingRoom.close();
    await this.#listener?.close();
  }
}

/** Asks the stock service at once; the token bucket is what keeps the crowd from it. */
export class DirectGateway implements Gateway {
  readonly #admit: () => Promise<boolean>;
  readonly #decide: (request: PurchaseRequest) => Promise<Verdict>;

  constructor(admit: () => Promise<boolean>, decide: (request: PurchaseRequest) => Promise<Verdict>) {
    this.#admit = admit;
    this.#decide = decide;
  }

  async purchase(request: PurchaseRequest): Promise<Answer> {
    try {
      return (await this.#admit()) ? await this.#decide(request) : "limited";
    } catch {
      // The engine cannot be reached. What was decided meanwhile is recorded, and answered when the buyer asks again.
      return "unavailable";
    }
  }

  async close(): Promise<void> {}
}

const limited: Promise<Answer> = Promise.resolve("limited");
