/** Where the next request goes, and what is made of how it ended: the one object that requests share. */

import { Backoff, type Chance } from "./backoff.ts";
import { Pace, type Turn } from "./budget.ts";
import { Chooser, type PickCount, type Question } from "./chooser.ts";
import { type Out, type PoolHealth, TRIAL_FIRST_S, TRIAL_LONGEST_S } from "./ejection.ts";
import type { Route, Shed } from "./outcome.ts";
import { mayLeave, splitInForce, weighted } from "./slices.ts";
import type { Table } from "./table.ts";
import { type Ending, Verdicts } from "./verdicts.ts";

export interface RouterOptions {
  readonly workload: string;
  readonly origin: string;
  readonly clock: () => number; // monotonic milliseconds
  readonly phase: number; // in [0, 1); differs between processes
  readonly chance?: Chance;
}

/** One row of `explain`: a pool, and how this process sees it. Durations in milliseconds. */
export interface PoolView {
  readonly origin: string;
  readonly pool: string;
  readonly weightPpm: number;
  readonly split: string;
  readonly out: string | null;
  readonly outForMs: number | null;
  readonly keptBack: number;
  readonly modelsOut: Readonly<Record<string, readonly [string, number]>>;
}

export class Router {
  readonly origin: string;
  readonly onEjection: ((pool: string, out: Out) => void)[] = [];
  readonly #clock: () => number;
  readonly #verdicts: Verdicts;
  readonly #chooser: Chooser;
  readonly #pace: Pace;

  constructor({ workload, origin, clock, phase, chance }: RouterOptions) {
    this.origin = origin;
    this.#clock = clock;
    this.#verdicts = new Verdicts(() => new Backoff(TRIAL_FIRST_S, TRIAL_LONGEST_S, chance));
    this.#chooser = new Chooser(workload, this.#verdicts, phase);
    this.#pace = new Pace((pool, nowMs) => this.health(pool).successesPerS(nowMs));
  }

  /** The table in force. */
  get table(): Table | undefined {
    return this.#chooser.table;
  }

  /** What requests are told while there is no table. */
  set whyNoTable(text: string) {
    this.#chooser.whyNoTable = text;
  }

  /** Where a request goes. Fallbacks are left to the caller, each at its pool's pace (`reserve`). */
  choose(question: Question): Route | Shed {
    const nowMs = this.#clock();
    this.tick(nowMs);
    return this.#chooser.choose(question, question.origin ?? this.origin, nowMs);
  }

  /** `choose`, with the first of the fallbacks whose pool has room now: a pick waits for nothing. */
  pick(question: Question): Route | Shed {
    const result = this.choose(question);
    if (result.kind === "route" || result.fallbacks.length === 0) return result;
    const nowMs = this.#clock();
    const route = result.fallbacks.find(({ target }) => this.reserve(target.pool, nowMs, 1) !== undefined);
    if (route !== undefined) return route;
    if (!question.exclude?.size) this.turnedAway(question.origin ?? this.origin);
    const full = result.fallbacks.map(({ target }) => `${target.pool}: no room now`);
    return { ...result, why: [...result.why, ...full], fallbacks: [] };
  }

  /** The pool that holds what a request refers to, or one that shares its endpoint and credential. */
  holder(pool: string, question: Question): Route | Shed {
    return this.#chooser.holder(pool, question, question.origin ?? this.origin);
  }

  /** When the pool takes one more request that others have dropped. */
  reserve(pool: string, nowMs: number, waitMaxMs: number): Turn | undefined {
    return this.#pace.reserve(pool, nowMs, waitMaxMs);
  }

  /** Milliseconds until the next look at whether the turn has come up; 0: it has. */
  look(turn: Turn, nowMs: number): number {
    return this.#pace.look(turn, nowMs);
  }

  /** The pool has answered a request that another has dropped: it has room for more. */
  tookOver(pool: string): void {
    this.#pace.answered(pool, this.#clock());
  }

  /** A request for which there were fallbacks has not been sent. */
  turnedAway(origin: string): void {
    this.#chooser.count(origin).shed++;
  }

  /** Every pool that this process keeps away from, wholly or for a model. */
  outs(): ReadonlyMap<string, Out> {
    return this.#verdicts.outs();
  }

  /** The pool's record. */
  health(pool: string): PoolHealth {
    return this.#verdicts.health(pool);
  }

  /** Take in what one attempt says about its pool; may eject it or take it back. */
  record(ending: Ending): void {
    const nowMs = this.#clock();
    if (ending.result === "throttled" || ending.result === "timeout") this.#pace.full(ending.pool, nowMs);
    const { changed, out } = this.#verdicts.record(ending, nowMs, (pool, health) => {
      const outOf = (other: string, model: string) => this.#verdicts.outOf(other, model);
      return this.table !== undefined && mayLeave(this.table, pool, health, outOf);
    });
    if (!changed) return;
    this.#changed(nowMs);
    if (out !== undefined) for (const listener of this.onEjection) listener(ending.pool, out);
  }

  /** A caller gave up before the pool could be called hung. */
  unanswered(pool: string): void {
    this.health(pool).unanswered(this.#clock());
  }

  /** A stream from the pool has given its first output: enough for a half-open pool to come back. */
  alive(pool: string): void {
    const nowMs = this.#clock();
    if (this.#verdicts.alive(pool, nowMs)) this.#changed(nowMs);
  }

  /** Let pools whose time is over come back. */
  tick(nowMs: number): void {
    const dueMs = this.#verdicts.nextDueMs;
    if (dueMs === undefined || nowMs < dueMs) return;
    const routes = [...(this.table?.routes.values() ?? [])];
    const carried = new Set(routes.flatMap(({ split }) => weighted(split).map(({ info }) => info.pool)));
    if (this.#verdicts.tick(nowMs, carried)) this.#chooser.forget();
  }

  /** Swap the table. Ejections stay, except those of pools whose address or credential has changed. */
  apply(table: Table): void {
    this.#chooser.apply(table, this.#clock());
  }

  /** Origin -> requests offered and shed since the last call. */
  takeCounts(): ReadonlyMap<string, PickCount> {
    return this.#chooser.takeCounts();
  }

  /** Which pool is out, why and for how long. */
  explain(): PoolView[] {
    const nowMs = this.#clock();
    const outOf = (pool: string, model: string) => this.#verdicts.outOf(pool, model);
    return [...(this.table?.routes.values() ?? [])].flatMap((route) => {
      const { split, reason } = splitInForce(route, outOf);
      const weights = new Map(weighted(split).map(({ info, weight }) => [info.pool, weight]));
      const others = [...weighted(route.split).map(({ info }) => info.pool), ...route.lastResort.map(({ pool }) => pool)];
      for (const pool of others) if (!weights.has(pool)) weights.set(pool, 0);
      return [...weights].map(([pool, weightPpm]): PoolView => {
        const out = outOf(pool, "");
        const modelsOut = [...this.#verdicts.modelOuts(pool)].map(
          ([model, fault]) => [model, [fault.result, Math.max(0, fault.untilMs - nowMs)]] as const,
        );
        return {
          origin: route.origin,
          pool,
          weightPpm,
          split: reason,
          out: out?.result ?? null,
          outForMs: out === undefined ? null : Math.max(0, out.untilMs - nowMs),
          keptBack: this.#verdicts.keptBack(pool),
          modelsOut: Object.fromEntries(modelsOut),
        };
      });
    });
  }

  #changed(nowMs: number): void {
    this.#chooser.forget();
    this.#verdicts.refresh(nowMs);
  }
}
