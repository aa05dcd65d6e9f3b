/** Runs one peer; started by `PeerProcess`, answers one request at a time, ends with its parent. */
import type { Figure, Peer, PeerAnswer, PeerCall, PeerModule, PeerRequest } from "./peer.ts";

let peer: Peer | undefined;

process.on("disconnect", () => process.exit(1));
process.on("message", async (request: PeerRequest) => {
  let answer: PeerAnswer;
  try {
    answer = { result: await serve(request) };
  } catch (error) {
    answer = { error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.send!(answer);
});

async function serve(request: PeerRequest): Promise<Figure | undefined> {
  if ("start" in request) {
    const module = (await import(`./peers/${request.start.module}.ts`)) as PeerModule;
    peer = await module.start(request.start.options);
    return undefined;
  }
  if (peer === undefined) throw new Error("the peer was not started");
  if ("close" in request) {
    await peer.close();
    return undefined;
  }
  // A full collection would also throw away what was compiled for objects of which none is alive just then (120 functions of a mutex, by `--trace-deopt`), as if the process had never
  // taken a lock, or consumed, before.
  globalThis.gc?.({ type: "minor" });
  const result = await measure(peer, request.call);
  const figures: number[] = typeof result === "number" ? [result] : Object.values(result);
  if (!figures.every((figure) => figure > 0)) throw new Error(`measured nothing: ${JSON.stringify(request.call)}`);
  return result;
}

async function measure(running: Peer, call: PeerCall): Promise<Figure> {
  switch (call.method) {
    case "publish":
      if (running.publish === undefined) throw new Error("this peer does not publish");
      return running.publish(call.inFlight, call.durationMs);
    case "consume":
      if (running.consume === undefined) throw new Error("this peer does not consume");
      return running.consume(call.concurrency);
    case "latency":
      if (running.latency === undefined) throw new Error("this peer has no latency");
      return running.latency(call.offered, call.durationMs);
    case "decide":
      if (running.decide === undefined) throw new Error("this peer decides nothing");
      return running.decide(call.keys, call.durationMs, call.inFlight);
    case "lock":
      if (running.lock === undefined) throw new Error("this peer has no locks");
      return running.lock(call.contention, call.durationMs);
  }
}
