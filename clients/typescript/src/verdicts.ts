/** All pools as this process sees them: which it keeps away from, wholly, for one model, or in part. */

import type { Backoff } from "./backoff.ts";
import { LEVELS } from "./choice.ts";
import { BUCKET_MS, type Out, PoolHealth, Throttle } from "./ejection.ts";
import {
  BLAME_OF_RESULT, type Blame, CONFIGURATION_FAULTS, HEALTH_FAILURES, type ResultClass, UNMARKED,
} from "./outcome.ts";

/** What one attempt says about its pool. `subject` tells requests apart that were refused. */
export interface Ending {
  readonly pool: string;
  readonly model: string;
  readonly result: ResultClass;
  readonly retryAfterMs?: number | undefined;
  readonly blame?: Blame | undefined;
  readonly subject?: number | undefined;
}

/** Whether the other pools can bear that this one is left. */
export type MayLeave = (pool: string, health: PoolHealth) => boolean;

interface Change {
  readonly changed: boolean; // choices must be compiled anew
  readonly out?: Out | undefined; // why the pool was left, if it was just now
}

export class Verdicts {
  due: ReadonlySet<string> = new Set(); // pools, and keys of single models
  nextDueMs: number | undefined;
  readonly #newWaits: () => Backoff;
  #health = new Map<string, PoolHealth>();
  #models = new Map<string, PoolHealth>(); // a 404 on one model leaves its siblings in
  #throttles = new Map<string, Throttle>();

  constructor(newWaits: () => Backoff) {
    this.#newWaits = newWaits;
  }

  /** The pool's record, begun at its first use. */
  health(pool: string): PoolHealth {
    let health = this.#health.get(pool);
    if (health === undefined) this.#health.set(pool, (health = new PoolHealth(this.#newWaits())));
    return health;
  }

  /** Why this process keeps away from the pool, or from one model on it. */
  outOf(pool: string, model: string): Out | undefined {
    const out = this.#health.get(pool)?.out;
    return out ?? (model === "" ? undefined : this.#models.get(keyOf(pool, model))?.out);
  }

  /** Every pool that this process keeps away from, wholly or for a model. */
  outs(): Map<string, Out> {
    const outs = new Map<string, Out>();
    for (const [key, { out }] of this.#models) if (out !== undefined) outs.set(poolIn(key), out);
    for (const [pool, { out }] of this.#health) if (out !== undefined) outs.set(pool, out);
    return outs;
  }

  /** Model -> why this process keeps away from it on the pool. */
  modelOuts(pool: string): Map<string, Out> {
    const outs = new Map<string, Out>();
    for (const [key, { out }] of this.#models) {
      if (out !== undefined && poolIn(key) === pool) outs.set(key.slice(pool.length + 1), out);
    }
    return outs;
  }

  /** The share of requests that is not sent to each pool because it turns most away. */
  turnedAway(): Map<string, number> {
    const shares = new Map<string, number>();
    for (const [pool, { level }] of this.#throttles) if (level > 0) shares.set(pool, level / LEVELS);
    return shares;
  }

  /** The share of the pool's requests that is not sent there. */
  keptBack(pool: string): number {
    const level = this.#throttles.get(pool)?.level ?? 0;
    return 1 - (1 - level / LEVELS) * (this.#health.get(pool)?.share ?? 1);
  }

  /** The share of its weight that each pool gets which is coming back: less than 1. */
  returning(): Map<string, number> {
    const shares = new Map<string, number>();
    for (const [pool, { share }] of this.#health) if (share < 1) shares.set(pool, share);
    return shares;
  }

  /** Whether a request for the model could find out about the pool, or about the model there. */
  awaits(pool: string, model: string): boolean {
    return this.due.has(pool) || this.due.has(keyOf(pool, model));
  }

  /** Whether a request for the model may go there now to find out; then it is the only one. */
  trial(pool: string, model: string, nowMs: number): boolean {
    let health = this.#health.get(pool);
    if (health?.out === undefined) health = this.#models.get(keyOf(pool, model));
    if (health === undefined || !health.isDue(nowMs)) return false;
    health.probe(nowMs);
    return true;
  }

  /** Take in what one attempt says about its pool. */
  record(ending: Ending, nowMs: number, mayLeave: MayLeave): Change {
    const { pool, model, result, retryAfterMs, blame = BLAME_OF_RESULT[result] } = ending;
    const health = this.health(pool);
    let changed = this.#modelAnswered(pool, model, result, blame);
    if (UNMARKED.has(blame)) {
      const more = this.#recordUnmarked(health, result, blame, ending.subject ?? 0, nowMs);
      return { changed: changed || more.changed, out: more.out };
    }
    changed = health.record(result, nowMs) || changed;
    changed = this.#throttle(pool).record(nowMs, result !== "throttled") || changed;
    if (health.out !== undefined) {
      return { changed: this.#recordOut(health, health.out, result, retryAfterMs, nowMs) || changed };
    }
    if (blame === "model" && model !== "") return this.#recordFault(keyOf(pool, model), result, nowMs);
    const isUnhealthy = HEALTH_FAILURES.has(result) && health.wantsOut(nowMs) && mayLeave(pool, health);
    const isFull = result === "throttled" && !health.serves(nowMs);
    if (isUnhealthy || isFull || blame === "account" || blame === "model") {
      return { changed: true, out: health.eject(result, nowMs, retryAfterMs) };
    }
    return { changed };
  }

  /** A stream from the pool has given its first output. Says whether the pool is back by that. */
  alive(pool: string, nowMs: number): boolean {
    const health = this.health(pool);
    health.lastSuccessMs = nowMs;
    if (!health.isProbing(nowMs)) return false;
    health.admit(nowMs);
    return true;
  }

  /** Let pools whose time is over come back: throttled ones at once, the others half open. `carried`: pools
   * to which the table gives weight; another one comes back without a trial. */
  tick(nowMs: number, carried: ReadonlySet<string>): boolean {
    if (this.nextDueMs === undefined || nowMs < this.nextDueMs) return false;
    for (const [key, fault] of this.#models) {
      if (!carried.has(poolIn(key)) && fault.isDue(nowMs)) this.#models.delete(key);
    }
    for (const [pool, health] of this.#health) {
      if (health.out === undefined || !health.isDue(nowMs)) continue;
      if (health.out.result === "throttled") health.out = undefined;
      else if (!carried.has(pool)) health.admit(nowMs, false);
    }
    for (const throttle of this.#throttles.values()) throttle.look(nowMs);
    this.refresh(nowMs);
    return true;
  }

  /** Another table is in force: what was seen stays, except of pools that are gone or have another address. */
  swap(before: ReadonlyMap<string, string>, after: ReadonlyMap<string, string>): void {
    for (const [pool, address] of after) {
      if ((before.get(pool) ?? address) === address) continue;
      this.#health.delete(pool);
      this.#throttles.delete(pool);
    }
    for (const [pool, health] of this.#health) {
      if (!after.has(pool) && health.out === undefined) this.#health.delete(pool);
    }
    for (const key of this.#models.keys()) if (!after.has(poolIn(key))) this.#models.delete(key);
    for (const pool of this.#throttles.keys()) if (!after.has(pool)) this.#throttles.delete(pool);
  }

  /** Work out `due` and `nextDueMs`; call it after any change. */
  refresh(nowMs: number): void {
    const due = new Set<string>();
    const times: number[] = [];
    for (const [key, health] of [...this.#health, ...this.#models]) {
      if (health.isDue(nowMs)) due.add(key);
      if (health.nextDueMs !== undefined) times.push(health.nextDueMs);
    }
    this.due = due;
    if ([...this.#throttles.values()].some(({ level }) => level > 0)) {
      times.push((Math.floor(nowMs / BUCKET_MS) + 1) * BUCKET_MS);
    }
    const later = times.filter((atMs) => atMs > nowMs);
    this.nextDueMs = later.length > 0 ? Math.min(...later) : undefined;
  }

  #throttle(pool: string): Throttle {
    let throttle = this.#throttles.get(pool);
    if (throttle === undefined) this.#throttles.set(pool, (throttle = new Throttle()));
    return throttle;
  }

  /** Whether the pool has just shown that it has a model which it did not have. */
  #modelAnswered(pool: string, model: string, result: ResultClass, blame: Blame): boolean {
    const showsIt = result === "ok" || blame === "caller" || blame === "moment";
    return showsIt && this.#models.delete(keyOf(pool, model));
  }

  /** The pool lacks one model. Of several requests that hear so together the first counts. */
  #recordFault(key: string, result: ResultClass, nowMs: number): Change {
    let fault = this.#models.get(key);
    if (fault === undefined) this.#models.set(key, (fault = new PoolHealth(this.#newWaits())));
    if (fault.out === undefined) return { changed: true, out: fault.eject(result, nowMs, undefined) };
    if (!fault.isProbing(nowMs)) return { changed: false };
    fault.eject(result, nowMs, undefined);
    return { changed: true };
  }

  /** An answer that speaks of one request: the pool answers, which is all that a half open one must show.
   * Refusals of different requests with nothing else between them are a fault. */
  #recordUnmarked(
    health: PoolHealth, result: ResultClass, blame: Blame, subject: number, nowMs: number,
  ): Change {
    if (health.isProbing(nowMs)) {
      health.admit(nowMs);
      return { changed: true };
    }
    const isRefused = blame === "request" && CONFIGURATION_FAULTS.has(result);
    if (isRefused && health.out === undefined && health.refused(subject)) {
      return { changed: true, out: health.eject(result, nowMs, undefined) };
    }
    return { changed: false };
  }

  /** The answer of a pool that is out. Only the half-open request's counts, and a later Retry-After. */
  #recordOut(
    health: PoolHealth, out: Out, result: ResultClass, retryAfterMs: number | undefined, nowMs: number,
  ): boolean {
    if (health.isProbing(nowMs)) {
      if (result === "ok") health.admit(nowMs);
      else health.eject(result, nowMs, retryAfterMs);
      return true;
    }
    if (result !== "throttled" || out.result !== "throttled") return false;
    return health.eject(result, nowMs, retryAfterMs).untilMs > out.untilMs;
  }
}

function keyOf(pool: string, model: string): string {
  return `${pool} ${model}`; // no pool has a space in its name
}

function poolIn(key: string): string {
  return key.slice(0, key.indexOf(" "));
}
