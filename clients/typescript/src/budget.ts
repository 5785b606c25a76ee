/**
 * The retry budget of one process, and the pace at which a pool takes over what another has dropped.
 * docs/write-a-client.md says why there are two. Times are monotonic milliseconds.
 */

import { RecentCounts } from "./counts.ts";

const WINDOW_S = 10;
const SHARE = 0.1;
const PER_S = 3;
const ROOM_SHARE = 0.25;
const AT_ONCE = 10;
const AT_ONCE_S = 1;
const GROWTH_MAX = 2;
const GROWTH_MIN = 0.25;
const GROWTH_STEP = 0.05;
const SHRINK_EVERY_MS = 200;
const FULL_FOR_MS = 2_000;
const HOPED_PER_S = 100;
const LOOK_EVERY_MS = 20;
const LOOK_AHEAD_MAX = 500;

/** Retries may add 10 % to the requests, plus 3 a second, over 10 s. */
export class RetryBudget {
  readonly #counts = new RecentCounts(2, WINDOW_S, 1_000);

  /** One request has begun. */
  request(nowMs: number): void {
    this.#counts.add(0, nowMs);
  }

  /** Spend one token, if there is one. */
  take(nowMs: number): boolean {
    if (this.left(nowMs) < 1) return false;
    this.#counts.add(1, nowMs);
    return true;
  }

  /** Tokens left in the window that ends now. */
  left(nowMs: number): number {
    const [requests, retries] = this.#counts.sums(nowMs);
    return SHARE * requests + PER_S * WINDOW_S - retries;
  }
}

/** A place in the line before a pool. `waitMs`: when to look whether it has come up, 0 for now. */
export interface Turn {
  readonly pool: string;
  readonly place: number;
  readonly waitMs: number;
}

interface Line {
  atMs: number;
  admitted: number; // how many it has room for since the beginning
  taken: number; // places given
  growth: number; // how many more each answer makes room for
  shrunkMs: number | undefined;
}

/** When each pool takes the next request that another has dropped. `rateOf`: requests a second that it
 * serves. */
export class Pace {
  readonly #rateOf: (pool: string, nowMs: number) => number;
  readonly #lines = new Map<string, Line>();

  constructor(rateOf: (pool: string, nowMs: number) => number) {
    this.#rateOf = rateOf;
  }

  /** A place in the line; undefined when its turn will come in `waitMaxMs` or later. */
  reserve(pool: string, nowMs: number, waitMaxMs: number): Turn | undefined {
    const line = this.#line(pool, nowMs);
    const place = line.taken + 1;
    if (this.#expectMs(pool, line, place, nowMs) >= waitMaxMs) return undefined;
    line.taken = place;
    return { pool, place, waitMs: lookAfterMs(line, place) };
  }

  /** Milliseconds until the next look at whether the turn has come up, 0 when it has. */
  look(turn: Turn, nowMs: number): number {
    return lookAfterMs(this.#line(turn.pool, nowMs), turn.place);
  }

  /** The pool has answered a request that was moved there. */
  answered(pool: string, nowMs: number): void {
    const line = this.#line(pool, nowMs);
    line.admitted += line.growth;
    line.growth = Math.min(GROWTH_MAX, line.growth + GROWTH_STEP);
  }

  /** The pool has shown that it is at its limit. */
  full(pool: string, nowMs: number): void {
    const line = this.#line(pool, nowMs);
    line.admitted = Math.min(line.admitted, line.taken);
    if (line.shrunkMs === undefined || nowMs - line.shrunkMs >= SHRINK_EVERY_MS) {
      line.growth = Math.max(GROWTH_MIN, line.growth / 2);
      line.shrunkMs = nowMs;
    }
  }

  #line(pool: string, nowMs: number): Line {
    let line = this.#lines.get(pool);
    if (line === undefined) {
      line = { atMs: nowMs, admitted: AT_ONCE, taken: 0, growth: GROWTH_MAX, shrunkMs: undefined };
      this.#lines.set(pool, line);
    } else if (nowMs > line.atMs) {
      const steady = this.#steadyPerS(pool, nowMs);
      const unusedMax = line.taken + Math.max(AT_ONCE, steady * AT_ONCE_S);
      const more = (steady * (nowMs - line.atMs)) / 1_000;
      line.admitted = Math.max(line.admitted, Math.min(line.admitted + more, unusedMax));
      line.atMs = nowMs;
    }
    return line;
  }

  #steadyPerS(pool: string, nowMs: number): number {
    return PER_S + ROOM_SHARE * this.#rateOf(pool, nowMs);
  }

  /** How long the place will probably take to come up. */
  #expectMs(pool: string, line: Line, place: number, nowMs: number): number {
    const ahead = place - line.admitted;
    if (ahead <= 0) return 0;
    let rate = this.#steadyPerS(pool, nowMs);
    if (line.shrunkMs === undefined || nowMs - line.shrunkMs >= FULL_FOR_MS) rate = Math.max(rate, HOPED_PER_S);
    return Math.max(1, (ahead * 1_000) / rate);
  }
}

/** Places far behind look more rarely, so that a long line costs little. */
function lookAfterMs(line: Line, place: number): number {
  const ahead = place - line.admitted;
  return ahead <= 0 ? 0 : LOOK_EVERY_MS + Math.floor(Math.min(ahead, LOOK_AHEAD_MAX));
}
