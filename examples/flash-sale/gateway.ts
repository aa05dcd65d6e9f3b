import type { Consumer, Topic } from "tenon/messaging";
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

/** Puts admitted requests on the topic of requests and waits for the answers that come back on its own topic. */
export class QueueingGateway implements Gateway {
  readonly #id: string;
  readonly #world: World;
  readonly #bucket: LocalLimiter;
  readonly #requests: Topic<QueuedRequest>;
  readonly #waitingRoom: WaitingRoom;
  #answers: Consumer | undefined;

  private constructor(id: string, world: World, bucket: LocalLimiter, requests: Topic<QueuedRequest>) {
    this.#id = id;
    this.#world = world;
    this.#bucket = bucket;
    this.#requests = requests;
    this.#waitingRoom = new WaitingRoom(world, answerTimeoutMs);
  }

  static async open(
    id: string,
    world: World,
    bucket: LocalLimiter,
    requests: Topic<QueuedRequest>,
    answers: Topic<AnswerBatch>,
  ): Promise<QueueingGateway> {
    const gateway = new QueueingGateway(id, world, bucket, requests);
    const room = gateway.#waitingRoom;
    // What was sent to a former process of this gateway is nobody's any more, and must not be waited for.
    gateway.#answers = await answers.broadcast(
      (batch) => {
        for (const [requestId, verdict] of batch) room.answer(requestId, verdict);
      },
      { sessionMs },
    );
    return gateway;
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
    this.#waitingRoom.close();
    await this.#answers?.close();
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
