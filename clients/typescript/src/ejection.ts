/**
 * One pool as this process sees it: whether to leave it, for how long, how it comes back, and which share of
 * its requests to keep away from it. Times are monotonic milliseconds. docs/write-a-client.md has the rules.
 */

import type { Backoff } from "./backoff.ts";
import { LEVELS } from "./choice.ts";
import { RecentCounts } from "./counts.ts";
import { roundHalfEven } from "./numbers.ts";
import { HEALTH_FAILURES, type ResultClass } from "./outcome.ts";

const STRAIGHT_FAILURES = 5;
const WINDOW_S = 10;
const WINDOW_REQUESTS_MIN = 10;
export const TRIAL_FIRST_S = 1;
export const TRIAL_LONGEST_S = 30;
const SHARES = [0.1, 0.25, 0.5];
const STEP_MS = 1_000;
const STEADY_MS = 30_000;
const OUT_MAX_MS = 300_000;
const RETRY_AFTER_DEFAULT_MS = 1_000;
const NO_SUCCESS_MS = 10_000;
const SERVES_MS = 2_000;
const SERVES_AT_ONCE_MS = 500;
const PROBE_MAX_MS = 30_000;
export const BUCKET_MS = 10_000;
const BUCKETS = 12;
const THROTTLE_REQUESTS_MIN = 10;
const ACCEPTED_FACTOR = 2;
const GOOD = 0;
const BAD = 1;
const HUNG = 2;
const UNANSWERED = 3;

/** Why and until when this process keeps away from a pool. */
export interface Out {
  readonly result: ResultClass;
  readonly sinceMs: number;
  readonly untilMs: number;
}

export class PoolHealth {
  out: Out | undefined;
  straight = 0; // failures of health in a row
  sinceSuccess = 0;
  lastSuccessMs: number | undefined;
  #firstRequestMs: number | undefined;
  #recordedMs = 0;
  #admittedMs = 0;
  #step = SHARES.length;
  #steppedMs = 0;
  #probingUntilMs = -1;
  readonly #refused = new Set<number>();
  readonly #counts = new RecentCounts(4, WINDOW_S, 1_000);
  readonly #waits: Backoff;

  constructor(waits: Backoff) {
    this.#waits = waits;
  }

  /** The pool refused this one request. Whether it has now refused five different ones without a success. */
  refused(subject: number): boolean {
    this.#refused.add(subject);
    return this.#refused.size >= STRAIGHT_FAILURES;
  }

  /** The part of its weight that it gets: less than 1 while it comes back. */
  get share(): number {
    return this.#step < SHARES.length ? SHARES[this.#step] : 1;
  }

  /** One request has ended in a way that speaks about the pool. Says whether `share` changed. */
  record(result: ResultClass, nowMs: number): boolean {
    this.#recordedMs = nowMs;
    this.#firstRequestMs ??= nowMs;
    if (result === "ok") {
      this.lastSuccessMs = nowMs;
      this.straight = this.sinceSuccess = 0;
      this.#refused.clear();
      this.#counts.add(GOOD, nowMs);
    } else {
      this.sinceSuccess++;
    }
    if (HEALTH_FAILURES.has(result)) {
      this.straight++;
      this.#counts.add(BAD, nowMs);
    }
    if (result === "timeout") this.#counts.add(HUNG, nowMs);
    return this.out === undefined && this.#step < SHARES.length && this.#takeStep(result, nowMs);
  }

  #takeStep(result: ResultClass, nowMs: number): boolean {
    const step = this.#step;
    if (HEALTH_FAILURES.has(result)) this.#step = Math.max(0, step - 1);
    else if (result === "ok" && nowMs - this.#steppedMs >= STEP_MS) this.#step = step + 1;
    else return false;
    this.#steppedMs = nowMs;
    return this.#step !== step;
  }

  /** A caller gave up before the pool could be called hung. */
  unanswered(nowMs: number): void {
    this.#counts.add(UNANSWERED, nowMs);
  }

  /** Whether one of the two rules about health says to leave. */
  wantsOut(nowMs: number): boolean {
    if (this.straight >= STRAIGHT_FAILURES) return true;
    const sums = this.#counts.sums(nowMs);
    return sums[GOOD] + sums[BAD] >= WINDOW_REQUESTS_MIN && sums[BAD] > sums[GOOD];
  }

  /** Whether some requests still succeed: then leaving is a matter of how much the others can bear. */
  get isPartial(): boolean {
    return this.straight < STRAIGHT_FAILURES && !this.#hangs;
  }

  get #hangs(): boolean {
    const sums = this.#counts.sums(this.#recordedMs);
    const ended = sums[GOOD] + sums[BAD];
    return ended >= WINDOW_REQUESTS_MIN && 2 * sums[HUNG] > ended;
  }

  /** Whether leaving it multiplies no load: no success for 10 s, or in its last 5 requests. */
  isFruitless(nowMs: number): boolean {
    if (this.sinceSuccess >= STRAIGHT_FAILURES || this.#leavesCallersWaiting(nowMs)) return true;
    const sinceMs = this.lastSuccessMs ?? this.#firstRequestMs;
    return sinceMs !== undefined && this.sinceSuccess > 0 && nowMs - sinceMs >= NO_SUCCESS_MS;
  }

  #leavesCallersWaiting(nowMs: number): boolean {
    const sums = this.#counts.sums(nowMs);
    const count = sums[GOOD] + sums[BAD] + sums[UNANSWERED];
    return count >= WINDOW_REQUESTS_MIN && 2 * (sums[HUNG] + sums[UNANSWERED]) > count;
  }

  /** Whether it has answered lately, even if it turned others away. */
  serves(nowMs: number): boolean {
    if (this.lastSuccessMs === undefined) return false;
    const withinMs = this.sinceSuccess >= STRAIGHT_FAILURES ? SERVES_AT_ONCE_MS : SERVES_MS;
    return nowMs - this.lastSuccessMs < withinMs;
  }

  /** Requests that ended well, over the last 10 s. */
  successesPerS(nowMs: number): number {
    return this.#counts.sums(nowMs)[GOOD] / WINDOW_S;
  }

  /** Leave the pool, until its Retry-After or for a wait that doubles while it doesn't come back. */
  eject(result: ResultClass, nowMs: number, retryAfterMs: number | undefined): Out {
    const askedMs = Math.min(retryAfterMs ?? 0, OUT_MAX_MS);
    let untilMs: number;
    if (result === "throttled") {
      untilMs = nowMs + Math.max(1, retryAfterMs === undefined ? RETRY_AFTER_DEFAULT_MS : askedMs);
    } else {
      if (this.out === undefined && nowMs - this.#admittedMs > STEADY_MS) this.#waits.reset();
      untilMs = nowMs + roundHalfEven(1_000 * this.#waits.nextS(askedMs / 1_000));
    }
    const sinceMs = this.out?.result === result ? this.out.sinceMs : nowMs;
    this.out = { result, sinceMs, untilMs };
    this.#probingUntilMs = -1;
    return this.out;
  }

  /** The pool is back, with a part of its weight at first. */
  admit(nowMs: number, bySteps = true): void {
    this.#step = bySteps ? 0 : SHARES.length;
    this.#steppedMs = this.#admittedMs = nowMs;
    this.out = undefined;
    this.straight = this.sinceSuccess = 0;
    this.#refused.clear();
    this.#probingUntilMs = -1;
    this.#counts.clear();
  }

  /** Whether its time out is over and no request is finding out yet. */
  isDue(nowMs: number): boolean {
    return this.out !== undefined && nowMs >= this.out.untilMs && nowMs >= this.#probingUntilMs;
  }

  /** Whether a request is finding out just now. */
  isProbing(nowMs: number): boolean {
    return this.out !== undefined && nowMs < this.#probingUntilMs;
  }

  /** One request goes there to find out. If it is never heard of again, another may after 30 s. */
  probe(nowMs: number): void {
    this.#probingUntilMs = nowMs + PROBE_MAX_MS;
  }

  /** When `isDue` will next become true. */
  get nextDueMs(): number | undefined {
    return this.out === undefined ? undefined : Math.max(this.out.untilMs, this.#probingUntilMs);
  }
}

/** Adaptive throttling of one pool (Beyer et al., Site Reliability Engineering, chapter 21). `level`: the
 * share of its requests that goes elsewhere without being sent, in sixteenths. */
export class Throttle {
  level = 0;
  readonly #counts = new RecentCounts(2, BUCKETS, BUCKET_MS);

  /** One request has ended; it stands for those not sent as well. Says whether `level` changed. */
  record(nowMs: number, isAccepted: boolean): boolean {
    this.#counts.add(0, nowMs, LEVELS / (LEVELS - this.level));
    this.#counts.add(1, nowMs, isAccepted ? 1 : 0);
    return isAccepted && this.level === 0 ? false : this.look(nowMs);
  }

  /** Judge anew, as counts grow old. Says whether `level` changed. */
  look(nowMs: number): boolean {
    const [wanted, accepted] = this.#counts.sums(nowMs);
    const share = Math.max(0, (wanted - ACCEPTED_FACTOR * accepted) / (wanted + 1));
    const before = this.level;
    this.level = wanted < THROTTLE_REQUESTS_MIN ? 0 : Math.min(LEVELS - 1, Math.floor(share * LEVELS));
    return this.level !== before;
  }
}
