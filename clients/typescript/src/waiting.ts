/** Waits that something else can end. */

/** Waits so long, or until the signal. */
export function sleep(waitMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(done, Math.max(0, waitMs));
    function done(): void {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    }
    if (signal.aborted) done();
    else signal.addEventListener("abort", done, { once: true });
  });
}

/** Whoever waits for the bell goes on when it rings, when its time is over, or at its signal. */
export class Bell {
  readonly #waiting = new Set<AbortController>();

  async wait(waitMs: number, signal: AbortSignal): Promise<void> {
    const rung = new AbortController();
    this.#waiting.add(rung);
    await sleep(waitMs, AbortSignal.any([signal, rung.signal]));
    this.#waiting.delete(rung);
  }

  ring(): void {
    for (const rung of this.#waiting) rung.abort();
  }
}
