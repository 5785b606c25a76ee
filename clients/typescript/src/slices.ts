/** What of the table is in force now: which split, which pools of it could serve a request, and whether a
 * pool may be left. */

import type { Out, PoolHealth } from "./ejection.ts";
import { roundHalfEven } from "./numbers.ts";
import type { Needs, Reason } from "./outcome.ts";
import { type ModelOffer, type PoolInfo, type Split, type Table, type TableRoute, providerOf } from "./table.ts";

const PARTIAL_SHARE_MAX = 0.5;
const LEFT: Out = { result: "server_error", sinceMs: 0, untilMs: 0 };

/** Why this process keeps away from (pool, model), if it does. */
export type OutOf = (pool: string, model: string) => Out | undefined;

/** A pool that could serve a request, by its offer of the model; `out`: why it does not now. */
export interface Candidate {
  readonly info: PoolInfo;
  readonly weight: number;
  readonly offer: ModelOffer | undefined;
  readonly out: Out | undefined;
}

type Rows = Split["rows"];

/** The pool and why it is out, in words. */
export function whyNot({ info, out }: Candidate): string {
  return `${info.pool}: ${out?.result ?? "passed over"}`;
}

/** The pool's offer of the logical model that meets the needs; without a model named, any offer does. */
function offerFor(info: PoolInfo, model: string, needs: Needs | undefined): ModelOffer | undefined {
  return info.models.find((offer) => {
    if (model !== "" && offer.model !== model) return false;
    if (needs === undefined) return true;
    const isLongEnough = offer.contextTokens === 0 || offer.contextTokens >= needs.contextTokens;
    return isLongEnough && needs.features.every((feature) => offer.features.includes(feature));
  });
}

/** Needs that select the same pools become equal: the context is rounded up to the next limit that any pool
 * offers. */
export function normalised(route: TableRoute, needs: Needs | undefined): Needs | undefined {
  if (needs === undefined || (needs.contextTokens <= 0 && needs.features.length === 0)) return undefined;
  const offered = new Set(route.pools.flatMap(({ models }) => models.map((offer) => offer.contextTokens)));
  const limits = [...offered].sort((left, right) => left - right);
  const context = limits.find((limit) => limit >= needs.contextTokens) ?? needs.contextTokens;
  const beyond = limits.length > 0 ? limits[limits.length - 1] + 1 : 0;
  return { contextTokens: Math.min(context, beyond), features: [...new Set(needs.features)].sort() };
}

/** The rows of a split that have weight. */
export function weighted(split: Split): Rows {
  return split.rows.filter(({ weight }) => weight > 0);
}

/** Those of the pools that could serve the request, in or out. */
export function candidates(rows: Rows, model: string, needs: Needs | undefined, outOf: OutOf): Candidate[] {
  return rows.flatMap(({ info, weight }) => {
    const offer = offerFor(info, model, needs);
    if (offer === undefined && model !== "") return [];
    return [{ info, weight, offer: model === "" ? undefined : offer, out: outOf(info.pool, model) }];
  });
}

/** Whether a request for the model may be the one that finds out about a pool. */
export function awaitsTrial(
  route: TableRoute, model: string, awaits: (pool: string, model: string) => boolean,
): boolean {
  return weighted(route.split).some(({ info }) => {
    return awaits(info.pool, model) && (model === "" || offerFor(info, model, undefined) !== undefined);
  });
}

/** Providers of which more than half of the weight is out here. A throttled pool is full, not lost. */
function lostProviders(route: TableRoute, outOf: OutOf): string[] {
  const gone = new Map<string, number>();
  const total = new Map<string, number>();
  for (const { info, weight } of weighted(route.split)) {
    const provider = providerOf(info.pool);
    total.set(provider, (total.get(provider) ?? 0) + weight);
    if (isGone(outOf(info.pool, ""))) gone.set(provider, (gone.get(provider) ?? 0) + weight);
  }
  return [...gone].filter(([name, weight]) => 2 * weight > (total.get(name) ?? 0)).map(([name]) => name).sort();
}

/** The route's own split, or the table's `on_loss` split of a lost provider: of several, the one that keeps
 * most weight on pools that are in. */
export function splitInForce(route: TableRoute, outOf: OutOf): { split: Split; reason: Reason } {
  let best: Split | undefined;
  let mostIn = -1;
  for (const name of lostProviders(route, outOf)) {
    const split = route.onLoss.get(name);
    if (split === undefined) continue;
    const weightIn = weighted(split).reduce((sum, { info, weight }) => {
      return outOf(info.pool, "") === undefined ? sum + weight : sum;
    }, 0);
    if (weightIn > mostIn) [best, mostIn] = [split, weightIn];
  }
  return best === undefined ? { split: route.split, reason: "weighted" } : { split: best, reason: "provider_lost" };
}

/** The split between the route's own and the table's for the loss of a provider, while the pools of that
 * provider get their share back by steps (`returning`). Undefined when that makes no difference. */
export function splitWhileReturning(
  route: TableRoute, split: Split, outOf: OutOf, returning: ReadonlyMap<string, number>,
): Split | undefined {
  if (returning.size === 0 || route.onLoss.size === 0) return undefined;
  const outOrReturning: OutOf = (pool, model) => outOf(pool, model) ?? (returning.has(pool) ? LEFT : undefined);
  const lost = new Set(lostProviders(route, outOrReturning).filter((provider) => route.onLoss.has(provider)));
  if (lost.size === 0) return undefined;
  const { split: other } = splitInForce(route, outOrReturning);
  const rows = weighted(split).filter(({ info }) => lost.has(providerOf(info.pool)));
  const back = rows
    .filter(({ info }) => outOf(info.pool, "") === undefined)
    .reduce((sum, { info, weight }) => sum + weight * (returning.get(info.pool) ?? 1), 0);
  const share = back / rows.reduce((sum, { weight }) => sum + weight, 0);
  const weights = new Map<PoolInfo, number>();
  for (const [source, factor] of [[split, share], [other, 1 - share]] as const) {
    for (const { info, weight } of source.rows) weights.set(info, (weights.get(info) ?? 0) + weight * factor);
  }
  return {
    rows: [...weights].map(([info, weight]) => ({ info, weight: roundHalfEven(weight) })),
    shed: roundHalfEven(split.shed * share + other.shed * (1 - share)),
  };
}

/** Whether the others can bear it: never the last pool of a model, and for partial failure never more than
 * half of a route's weight. */
export function mayLeave(table: Table, pool: string, health: PoolHealth, outOf: OutOf): boolean {
  const outThen: OutOf = (other, model) => (other === pool ? LEFT : outOf(other, model));
  for (const route of table.routes.values()) {
    const info = route.pools.find((each) => each.pool === pool);
    if (info === undefined) continue;
    if (health.isPartial && goneShare(route, outThen) > PARTIAL_SHARE_MAX) return false;
    const models = info.models.length > 0 ? info.models.map(({ model }) => model) : [""];
    if (!models.every((model) => survives(route, model, outThen))) return false;
  }
  return true;
}

function goneShare(route: TableRoute, outOf: OutOf): number {
  const rows = weighted(route.split);
  const gone = rows.filter(({ info }) => isGone(outOf(info.pool, ""))).reduce((sum, { weight }) => sum + weight, 0);
  return gone / Math.max(1, rows.reduce((sum, { weight }) => sum + weight, 0));
}

function survives(route: TableRoute, model: string, outOf: OutOf): boolean {
  const { split } = splitInForce(route, outOf);
  return candidates(weighted(split), model, undefined, outOf).some(({ out }) => !isGone(out));
}

function isGone(out: Out | undefined): boolean {
  return out !== undefined && out.result !== "throttled";
}
