/** A table without the pools that an emergency overlay excludes: they are removed, and the others take their
 * share. Where more than half of a provider's weight is excluded, the weights for its loss apply. */

import type { Out } from "./ejection.ts";
import { splitInForce } from "./slices.ts";
import { MILLION, type PoolInfo, type Split, type Table, type TableRoute } from "./table.ts";

const ALL_EXCLUDED = "every pool is excluded by an emergency overlay";
const EXCLUDED: Out = { result: "connect", sinceMs: 0, untilMs: 0 };

/** The same generation without the pools in `exclude` (providers, provider/region, or whole pools). */
export function withoutExcluded(table: Table, exclude: readonly string[]): Table {
  if (exclude.length === 0) return table;
  const routes = [...table.routes].map(([origin, route]) => [origin, without(route, exclude)] as const);
  return { ...table, routes: new Map(routes) };
}

function without(route: TableRoute, exclude: readonly string[]): TableRoute {
  const isExcluded = ({ pool }: PoolInfo) => exclude.some((scope) => pool === scope || pool.startsWith(`${scope}/`));
  if (!route.pools.some(isExcluded)) return route;
  const names = new Set(route.pools.filter(isExcluded).map(({ pool }) => pool));
  const { split } = splitInForce(route, (pool) => (names.has(pool) ? EXCLUDED : undefined));
  const own = scaled(split, names);
  const areAllExcluded = own.shed === MILLION && split.shed < MILLION;
  return {
    ...route,
    split: own,
    shedReason: areAllExcluded ? ALL_EXCLUDED : route.shedReason,
    onLoss: new Map([...route.onLoss].map(([provider, loss]) => [provider, scaled(loss, names)])),
    lastResort: route.lastResort.filter((info) => !isExcluded(info)),
    pools: route.pools.filter((info) => !isExcluded(info)),
  };
}

/** The split over the remaining pools, which together keep the weight of all; if none is left all is shed. */
function scaled(split: Split, excluded: ReadonlySet<string>): Split {
  const rows = split.rows.filter(({ info }) => !excluded.has(info.pool));
  const left = rows.reduce((sum, { weight }) => sum + weight, 0);
  if (left === 0) return { rows: [], shed: MILLION };
  const total = MILLION - split.shed;
  let reached = 0;
  let before = 0;
  const remaining = rows.map(({ info, weight }) => {
    reached += weight;
    const end = Math.floor((reached * total) / left);
    const share = end - before;
    before = end;
    return { info, weight: share };
  });
  return { rows: remaining, shed: split.shed };
}
