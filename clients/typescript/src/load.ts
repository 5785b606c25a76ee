/** What this process learns from answers: how large requests are, how long answers take, what is on its way. */

import type { Out } from "./ejection.ts";
import type { TokenCounts } from "./whole.ts";

const CHARACTERS_PER_TOKEN = 4;
const COMPLETION_DEFAULT = 256;
const NEWEST_SHARE = 0.05; // of an average that moves with each answer
const RATIO_MIN = 0.05;
const RATIO_MAX = 4;
const SAMPLES_MIN = 20; // before that nothing is usual yet
const SAMPLES_FEW = 5; // enough to tell a hang from an impatient caller
const HANG_FACTOR = 3;
const RISE = 0.5;
const FALL = 0.01;
const MODELS_MAX = 4_096;

/** How much load a request is before it is answered, in tokens of prompt and answer together. */
export class Estimator {
  #ratio = 1;
  #completion = COMPLETION_DEFAULT;

  /** Units that a request will probably take. */
  expect(bodyBytes: number, outputTokensMax: number | undefined): number {
    return this.#prompt(bodyBytes) + Math.min(this.#completion, outputTokensMax ?? Infinity);
  }

  /** Units that an answer took: as it names its usage, which is learned; else an estimate of the prompt, and a
   * token for each event. */
  took(bodyBytes: number, usage: TokenCounts | undefined, events: number): number {
    if (usage === undefined) return this.#prompt(bodyBytes) + events;
    const [prompt, answer] = usage;
    if (bodyBytes > 0) {
      const ratio = Math.min(Math.max((prompt * CHARACTERS_PER_TOKEN) / bodyBytes, RATIO_MIN), RATIO_MAX);
      this.#ratio += NEWEST_SHARE * (ratio - this.#ratio);
    }
    this.#completion += NEWEST_SHARE * (answer - this.#completion);
    return prompt + answer;
  }

  #prompt(bodyBytes: number): number {
    return (bodyBytes / CHARACTERS_PER_TOKEN) * this.#ratio;
  }
}

interface Peak {
  valueMs: number; // a smoothed 99th percentile, roughly
  count: number;
}

/** How long the answers of each pool and model usually take: first outputs of streams, and whole answers. */
export class Usual {
  readonly #peaks = new Map<string, Peak>();

  /** One answer ended well after so long. */
  learn(pool: string, model: string, isStream: boolean, tookMs: number): void {
    const key = keyOf(pool, model, isStream);
    let peak = this.#peaks.get(key);
    if (peak === undefined) {
      if (this.#peaks.size >= MODELS_MAX) this.#peaks.clear();
      this.#peaks.set(key, (peak = { valueMs: 0, count: 0 }));
    }
    const share = peak.count === 0 ? 1 : tookMs > peak.valueMs ? RISE : FALL;
    peak.valueMs += share * (tookMs - peak.valueMs);
    peak.count++;
  }

  /** What is usual; 0 before there were 20 answers. */
  usualMs(pool: string, model: string, isStream: boolean): number {
    return this.#after(SAMPLES_MIN, pool, model, isStream);
  }

  /** What took long among the answers so far; 0 before there were 5. */
  latelyMs(pool: string, model: string, isStream: boolean): number {
    return this.#after(SAMPLES_FEW, pool, model, isStream);
  }

  /** Whether an attempt without an answer was waited for three times as long as slow answers take there. */
  isHang(pool: string, model: string, isStream: boolean, waitedMs: number): boolean {
    const latelyMs = this.latelyMs(pool, model, isStream);
    return latelyMs > 0 && HANG_FACTOR * latelyMs <= waitedMs;
  }

  #after(count: number, pool: string, model: string, isStream: boolean): number {
    const peak = this.#peaks.get(keyOf(pool, model, isStream));
    return peak !== undefined && peak.count >= count ? peak.valueMs : 0;
  }
}

function keyOf(pool: string, model: string, isStream: boolean): string {
  return `${pool} ${model} ${isStream ? "stream" : "whole"}`;
}

/** One attempt on its way. `callBack` ends its wait while nothing of the answer has been handed on. */
export interface Flight {
  readonly pool: string;
  readonly beganMs: number;
  callBack: (() => void) | undefined;
}

/** All attempts of one process, in the order they began. */
export class Flights {
  readonly #byPool = new Map<string, Set<Flight>>();

  /** An attempt leaves. */
  begin(pool: string, nowMs: number): Flight {
    const flight: Flight = { pool, beganMs: nowMs, callBack: undefined };
    let flights = this.#byPool.get(pool);
    if (flights === undefined) this.#byPool.set(pool, (flights = new Set()));
    flights.add(flight);
    return flight;
  }

  /** It is over, however it ended. */
  end(flight: Flight): void {
    flight.callBack = undefined;
    this.#byPool.get(flight.pool)?.delete(flight);
  }

  /** Pools that have any -> how many, and the age of the oldest. */
  counts(nowMs: number): Map<string, { count: number; oldestMs: number }> {
    const rows = new Map<string, { count: number; oldestMs: number }>();
    for (const [pool, flights] of this.#byPool) {
      const [oldest] = flights;
      if (oldest !== undefined) rows.set(pool, { count: flights.size, oldestMs: Math.max(0, nowMs - oldest.beganMs) });
    }
    return rows;
  }

  /** The pool was left. If it stalls, what waits for its first output there is called back, oldest first. */
  left(pool: string, { result }: Out): void {
    if (result !== "timeout") return;
    for (const flight of [...(this.#byPool.get(pool) ?? [])]) flight.callBack?.();
  }
}
