/**
 * Which pool a request goes to, by the table in force, the pools this process keeps away from, and compiled
 * choices. A choice is compiled anew when the table is swapped or a pool goes out or comes back.
 */

import { Affinity } from "./affinity.ts";
import { Choice } from "./choice.ts";
import { roundHalfEven } from "./numbers.ts";
import { HEALTH_FAILURES, type Needs, type Route, type Shed, type Target, shedBecause } from "./outcome.ts";
import {
  type Candidate, awaitsTrial, candidates, normalised, splitInForce, splitWhileReturning, weighted, whyNot,
} from "./slices.ts";
import { MILLION, type PoolInfo, type Split, type Table, type TableRoute, generationText, providerOf } from "./table.ts";
import type { Verdicts } from "./verdicts.ts";

const CHOICES_MAX = 512;
const MODELS_NAMED_MAX = 20;

/** What a request asks for. `exclude`: pools that it has tried; then it is a retry. */
export interface Question {
  readonly model: string;
  readonly session?: string | undefined;
  readonly needs?: Needs | undefined;
  readonly exclude?: ReadonlySet<string> | undefined;
  readonly origin?: string | undefined;
}

interface Key {
  readonly text: string;
  readonly origin: string;
  readonly model: string;
  readonly needs: Needs | undefined;
}

/** Requests of one origin since the last report. */
export interface PickCount {
  offered: number;
  shed: number;
}

export class Chooser {
  table: Table | undefined;
  whyNoTable = "the client is not running: await its start()";
  readonly #workload: string;
  readonly #verdicts: Verdicts;
  readonly #phase: number;
  readonly #choices = new Map<string, { choice: Choice; origin: string }>();
  readonly #affinities = new Map<string, Affinity>();
  readonly #phases = new Map<string, number>();
  #counts = new Map<string, PickCount>();

  constructor(workload: string, verdicts: Verdicts, phase: number) {
    this.#workload = workload;
    this.#verdicts = verdicts;
    this.#phase = phase;
  }

  choose(question: Question, origin: string, nowMs: number): Route | Shed {
    const { model, session, exclude = new Set() } = question;
    const route = this.table?.routes.get(origin);
    if (this.table === undefined || route === undefined) return this.#nowhere(origin);
    const needs = normalised(route, question.needs);
    const key: Key = { text: JSON.stringify([origin, model, needs]), origin, model, needs };
    const choice = this.#choice(key, route, nowMs);
    if (exclude.size > 0) {
      const result = choice.excluding(exclude);
      if (result.kind === "route") return result;
      return this.#afterLosses(key, route, exclude) ?? this.#withFallbacks(key, route, choice, exclude, nowMs);
    }
    const trial = this.#trial(key, route, nowMs);
    if (trial !== undefined) {
      this.count(origin).offered++;
      return trial;
    }
    let result = session === undefined ? choice.next() : choice.forSession(session);
    if (choice.isEmpty) {
      const shed = (result = this.#withFallbacks(key, route, choice, new Set(), nowMs));
      if (shed.fallbacks.length > 0) this.count(origin).shed--; // shed only if none of them takes it
      if (shed.retryAfterMs !== undefined) this.#drop(key.text); // its time counts from when it was compiled
    }
    return result;
  }

  /** The pool that holds what a request refers to, or one that shares its endpoint and credential: weights
   * don't matter. The holder comes first, and also when all of them are out, as there is no other. */
  holder(pool: string, { model, exclude = new Set() }: Question, origin: string): Route | Shed {
    const route = this.table?.routes.get(origin);
    if (route === undefined) return this.#nowhere(origin);
    const holder = route.pools.find((info) => info.pool === pool);
    const count = this.count(origin);
    const isFirst = exclude.size === 0;
    if (isFirst) count.offered++;
    const account = holder === undefined ? "" : accountOf(holder);
    const sharing = route.pools.filter((info) => info !== holder && accountOf(info) === account);
    const others = candidates(sharing.map((info) => ({ info, weight: 0 })), model, undefined, this.#bound.outOf);
    const first = holder === undefined ? [] : this.#holding(holder, model);
    const rows = [...first, ...others].filter(({ info }) => !exclude.has(info.pool));
    const row = rows.find(({ out }) => out === undefined) ?? rows[0];
    if (row === undefined) {
      if (isFirst) count.shed++;
      return shedBecause("no_pool", `${pool} can't be asked, and no other pool shares its state`);
    }
    const key: Key = { text: "", origin, model, needs: undefined };
    return { kind: "route", target: this.#target(row, key), reason: "held" };
  }

  /** The holder itself, also where it does not offer the model. */
  #holding(info: PoolInfo, model: string): Candidate[] {
    const { outOf } = this.#bound;
    const rows = candidates([{ info, weight: 0 }], model, undefined, outOf);
    return rows.length > 0 ? rows : [{ info, weight: 0, offer: undefined, out: outOf(info.pool, model) }];
  }

  /** Swap the table. Ejections stay, except those of pools whose address or credential has changed. */
  apply(table: Table, nowMs: number): void {
    this.#verdicts.swap(addresses(this.table), addresses(table));
    this.table = table;
    this.forget();
    this.#verdicts.refresh(nowMs);
  }

  /** All choices must be compiled anew. */
  forget(): void {
    for (const key of [...this.#choices.keys()]) this.#drop(key);
  }

  /** What was counted for this origin besides its choices' own picks. */
  count(origin: string): PickCount {
    let count = this.#counts.get(origin);
    if (count === undefined) this.#counts.set(origin, (count = { offered: 0, shed: 0 }));
    return count;
  }

  /** Origin -> requests offered and shed since the last call. */
  takeCounts(): ReadonlyMap<string, PickCount> {
    for (const { choice, origin } of this.#choices.values()) this.#takeCounts(choice, origin);
    const counts = this.#counts;
    this.#counts = new Map();
    return counts;
  }

  #takeCounts(choice: Choice, origin: string): void {
    const [offered, shed] = choice.takeCounts();
    if (offered === 0) return;
    const count = this.count(origin);
    count.offered += offered;
    count.shed += shed;
  }

  #drop(key: string): void {
    const entry = this.#choices.get(key);
    if (entry === undefined) return;
    this.#choices.delete(key);
    this.#takeCounts(entry.choice, entry.origin);
    this.#phases.set(key, entry.choice.phase);
  }

  #nowhere(origin: string): Shed {
    const count = this.count(origin);
    count.offered++;
    count.shed++;
    if (this.table === undefined) {
      const text = "no route table has been received yet, and there is no last good one";
      return shedBecause("no_table", `${text}: ${this.whyNoTable}`);
    }
    return shedBecause("no_route", `this client follows no route ${this.#workload}/${origin}`);
  }

  #choice(key: Key, route: TableRoute, nowMs: number): Choice {
    const entry = this.#choices.get(key.text);
    if (entry !== undefined) return entry.choice;
    const choice = this.#compile(key, route, nowMs);
    if (this.#choices.size >= CHOICES_MAX) this.forget();
    this.#choices.set(key.text, { choice, origin: key.origin });
    return choice;
  }

  #compile(key: Key, route: TableRoute, nowMs: number): Choice {
    const { outOf } = this.#bound;
    let returning: ReadonlyMap<string, number> = this.#verdicts.returning();
    const turnedAway = this.#verdicts.turnedAway();
    let { split, reason } = splitInForce(route, outOf);
    const mixed = reason === "weighted" ? splitWhileReturning(route, split, outOf, returning) : undefined;
    if (mixed !== undefined) [split, returning] = [mixed, new Map()];
    const rows = candidates(weighted(split), key.model, key.needs, outOf);
    const pools = rows.filter(({ out }) => out === undefined).map(({ info }) => info.pool);
    const keptBack = new Map<string, number>();
    for (const pool of pools) {
      if (!returning.has(pool) && !turnedAway.has(pool)) continue;
      keptBack.set(pool, 1 - (returning.get(pool) ?? 1) * (1 - (turnedAway.get(pool) ?? 0)));
    }
    const allTurnAway = pools.length > 0 && pools.every((pool) => turnedAway.has(pool));
    const product = pools.reduce((share, pool) => share * (turnedAway.get(pool) ?? 0), 1);
    const lostPpm = allTurnAway ? roundHalfEven(MILLION * product) : 0;
    const shedPpm = split.shed < MILLION ? split.shed : 0;
    let shed = shedOf(route, split, rows, key.model, pools.length > 0, nowMs);
    if (lostPpm > 0 && shedPpm === 0) {
      shed = shedBecause("throttled", `every pool of ${nameOf(route)} turns most requests away`);
    }
    return new Choice(
      rows.filter(({ out }) => out === undefined).map((row) => [this.#target(row, key), row.weight]),
      {
        shed,
        shedPpm: shedPpm + Math.floor(((MILLION - shedPpm) * lostPpm) / MILLION),
        keptBack,
        reason,
        phase: this.#phases.get(key.text) ?? this.#phase,
        affinity: this.#affinity(key.text, rows),
      },
    );
  }

  /** The affinity that the last choice used, if its weights still hold: compiling one takes milliseconds. */
  #affinity(key: string, rows: readonly Candidate[]): Affinity {
    const weights = rows.map(({ info, weight }) => [info.pool, weight] as const);
    const before = this.#affinities.get(key);
    if (before?.isFor(weights)) return before;
    const affinity = new Affinity(weights);
    this.#affinities.set(key, affinity);
    return affinity;
  }

  get #bound(): { outOf: (pool: string, model: string) => ReturnType<Verdicts["outOf"]> } {
    return { outOf: (pool, model) => this.#verdicts.outOf(pool, model) };
  }

  #target({ info, offer }: Candidate, key: Key): Target {
    const { pool, url, adapter, credential } = info;
    const generation = this.table === undefined ? "" : generationText(this.table.generation);
    const name = offer?.name ?? "";
    return { pool, url, adapter, credential, model: key.model, name, origin: key.origin, generation, offer };
  }

  /** The request that finds out whether a pool whose time is over is back, if this one may go there. */
  #trial(key: Key, route: TableRoute, nowMs: number): Route | undefined {
    if (this.#verdicts.due.size === 0) return undefined;
    if (!awaitsTrial(route, key.model, (pool, model) => this.#verdicts.awaits(pool, model))) return undefined;
    for (const row of candidates(weighted(route.split), key.model, key.needs, () => undefined)) {
      if (!this.#verdicts.trial(row.info.pool, key.model, nowMs)) continue;
      this.#verdicts.refresh(nowMs);
      return { kind: "route", target: this.#target(row, key), reason: "half_open" };
    }
    return undefined;
  }

  /** All that the split in force allows was tried: by the table's split without the providers of what was
   * tried. */
  #afterLosses(key: Key, route: TableRoute, tried: ReadonlySet<string>): Route | undefined {
    const providers = [...new Set([...tried].map(providerOf))].sort();
    const splits = providers.flatMap((provider) => route.onLoss.get(provider) ?? []);
    return this.#untried(key, splits, tried);
  }

  /** Why `choice` has no pool for the request, with what may be tried all the same. */
  #withFallbacks(key: Key, route: TableRoute, choice: Choice, tried: ReadonlySet<string>, nowMs: number): Shed {
    const { outOf } = this.#bound;
    const nothingIn = (split: Split): Shed => {
      const rows = candidates(weighted(split), key.model, key.needs, outOf);
      return shedOf(route, split, rows, key.model, false, nowMs);
    };
    let shed = choice.isEmpty ? choice.shed : nothingIn(splitInForce(route, outOf).split);
    // A provider counts as lost with more than half of its weight, so that the split without it may shed all, or
    // have no pool for what this request needs, beside pools of the own split that serve.
    const wasSent = [...tried].some((pool) => pool !== "");
    if (shed.reason === "no_model" || (shed.reason === "shed" && wasSent)) shed = nothingIn(route.split);
    if (shed.reason !== "no_pool" && shed.reason !== "throttled") return shed;
    const bySplit = this.#untried(key, [route.split, ...route.onLoss.values()], tried);
    const rows = route.lastResort.map((info) => ({ info, weight: 0 }));
    const resort = candidates(rows, key.model, key.needs, outOf);
    const isHopeless = ({ out }: Candidate) => out !== undefined && !HEALTH_FAILURES.has(out.result);
    const toTry = resort.filter((row) => !isHopeless(row) && !tried.has(row.info.pool));
    const inFirst = [...toTry.filter(({ out }) => !out), ...toTry.filter(({ out }) => out)];
    const listed = new Set(weighted(route.split).map(({ info }) => info.pool));
    const toSkip = resort.filter((row) => !toTry.includes(row) && !listed.has(row.info.pool));
    const byResort = inFirst.map(
      (row): Route => ({ kind: "route", target: this.#target(row, key), reason: "last_resort" }),
    );
    return {
      ...shed,
      why: [...shed.why, ...toSkip.map((row) => `${whyNot(row)} (last resort)`)],
      fallbacks: [...(bySplit === undefined ? [] : [bySplit]), ...byResort],
    };
  }

  /** By the first of the splits that has a pool not tried, by weight. */
  #untried(key: Key, splits: readonly Split[], tried: ReadonlySet<string>): Route | undefined {
    for (const split of splits) {
      const rows = candidates(weighted(split), key.model, key.needs, this.#bound.outOf);
      const targets = rows
        .filter(({ out }) => out === undefined)
        .map((row) => [this.#target(row, key), row.weight] as const);
      const options = { shed: shedBecause("no_pool"), phase: this.#phase };
      const result = new Choice(targets, options).excluding(tried);
      if (result.kind === "route") return result;
    }
    return undefined;
  }
}

/** What a request is told that gets no pool: with `someIn` because the table sheds its share, else because no
 * pool can take it. */
function shedOf(
  route: TableRoute, split: Split, rows: readonly Candidate[], model: string, someIn: boolean, nowMs: number,
): Shed {
  const name = nameOf(route);
  if (someIn || split.shed === MILLION) {
    return shedBecause("shed", route.shedReason || `the table sheds part of ${name}`);
  }
  if (rows.length === 0) return shedBecause("no_model", withoutModel(route, model));
  const why = rows.map(whyNot);
  const back = rows.flatMap(({ out }) => (out?.result === "throttled" ? [out.untilMs] : []));
  if (back.length > 0) {
    const retryAfterMs = Math.max(0, Math.min(...back) - nowMs);
    return shedBecause("throttled", `every pool of ${name} is at its limit or out`, { retryAfterMs, why });
  }
  const passedOver = rows.some(({ out }) => out === undefined) ? " or was passed over" : "";
  return shedBecause("no_pool", `every pool of ${name} is out${passedOver}`, { why });
}

function withoutModel(route: TableRoute, model: string): string {
  const served = [...new Set(route.pools.flatMap(({ models }) => models.map((offer) => offer.model)))].sort();
  if (model === "" || served.includes(model)) {
    return `no pool of ${nameOf(route)} serves ${model || "this"} with what is needed`;
  }
  return `no pool of ${nameOf(route)} serves ${model}; it has ${served.slice(0, MODELS_NAMED_MAX).join(", ")}`;
}

/** Whose state a pool sees. */
function accountOf({ url, credential, adapter }: PoolInfo): string {
  return `${new URL(url).host.toLowerCase()} ${credential} ${adapter}`;
}

function nameOf(route: TableRoute): string {
  return `${route.workload}/${route.origin}`;
}

function addresses(table: Table | undefined): Map<string, string> {
  const rows = [...(table?.routes.values() ?? [])].flatMap(({ pools }) => pools);
  return new Map(rows.map(({ pool, url, adapter, credential }) => [pool, `${url} ${adapter} ${credential}`]));
}
