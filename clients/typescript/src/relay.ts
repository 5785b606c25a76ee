/** The rest of an answer after its first output: handed on as it comes, watched for its end, never spliced. */

import type { Patience, Rest } from "./attempt.ts";
import type { ResultClass } from "./outcome.ts";

/** An answer broke after its first output: two answers are never spliced. It is no AbortError, which the SDK
 * would take for the end of the stream. */
export class StreamBrokenError extends Error {
  override readonly name = "StreamBrokenError";
}

/** The body for the caller. `finish` is called once, with how the answer ended. */
export function relayed(
  { source, prefix, reader }: Rest, patience: Patience, idleMs: number, finish: (result: ResultClass) => void,
): ReadableStream<Uint8Array> {
  let isFinished = false;
  const end = (result: ResultClass) => {
    if (isFinished) return;
    isFinished = true;
    patience.end();
    finish(result);
  };
  const endIfComplete = () => {
    if (reader?.hasEnded) end(reader.resultSoFar);
  };
  endIfComplete();
  return new ReadableStream<Uint8Array>({
    start(controller) {
      for (const piece of prefix) controller.enqueue(piece);
    },
    async pull(controller) {
      patience.wait(idleMs);
      try {
        const { done, value } = await source.read();
        patience.pause();
        if (!done) {
          reader?.feed(value);
          endIfComplete();
          controller.enqueue(value);
          return;
        }
        end(reader === undefined ? "ok" : reader.close(true));
        if (reader === undefined || reader.hasEnded) controller.close();
        else controller.error(new StreamBrokenError("the stream ended without its last event"));
      } catch (error) {
        patience.pause();
        const result = patience.isCallerGone ? (reader?.resultSoFar ?? "ok") : (reader?.close(false) ?? "cut");
        end(result);
        if (reader?.hasEnded) controller.close(); // it does not matter then how the connection goes down
        else if (patience.isCallerGone) controller.error(error);
        else controller.error(new StreamBrokenError(brokenText(patience, idleMs), { cause: error }));
      }
    },
    async cancel() {
      end(reader?.resultSoFar ?? "ok"); // a caller that leaves early is no failure of the pool
      await source.cancel().catch(() => undefined);
    },
  });
}

function brokenText({ hasRunOut }: Patience, idleMs: number): string {
  return hasRunOut
    ? `nothing came for ${idleMs / 1_000} s in the middle of the stream`
    : "the stream broke after its first output";
}
