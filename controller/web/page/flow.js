// The picture of traffic: origins, workloads, pools. The width of a band is load; its colour is the state of the
// pool at its end. `layout` is plain arithmetic; `drawFlow` keeps the elements of bands that stay.

import { attribute, byId, el, keyed, percent, svg, text, units } from "./dom.js";

const FITS = 24; // so many pools, regions or providers are told apart at one glance
const FITS_NARROW = 10;
const SLOT = 17; // pixels from one label to the next
const TENTH = 0.1; // of a node or band, from which on a worse state colours it
const RANKS = ["critical_plus", "critical", "sheddable_plus", "sheddable"];
const WORST = ["down", "unknown", "degraded", "recovering", "healthy"];
const GAP = 9;
const BAR = 11;
const NARROW = 620; // pixels
const SHED = "shed";

const nameOf = {
  pool: (pool) => pool,
  region: (pool) => pool.split("/").slice(0, 2).join("/"),
  provider: (pool) => pool.split("/")[0],
};
let picture = null;
let redraw = () => {};
let size = 0;

export function onGrouping(callback) {
  redraw = callback;
  byId("grouping").addEventListener("change", callback);
  byId("flow-table").addEventListener("toggle", callback);
  new ResizeObserver(([entry]) => {
    const width = Math.round(entry.contentRect.width);
    if (width !== size) {
      size = width;
      redraw();
    }
  }).observe(byId("flow"));
}

function groupingOf(pools) {
  const choice = byId("grouping").value;
  if (choice !== "auto") return choice;
  const most = size < NARROW ? FITS_NARROW : FITS;
  const fits = (grouping) => new Set(pools.map(nameOf[grouping])).size <= most;
  return fits("pool") ? "pool" : fits("region") ? "region" : "provider";
}

// Bands by (from, to), the value of each node, and whether the values are load or only shares.
export function bandsOf(routes, pools, grouping) {
  const names = Object.keys(routes);
  const loads = names.some((name) => routes[name].offered > 0);
  const first = new Map();
  const second = new Map();
  const ranks = new Map();
  const add = (map, from, to, value) => {
    const key = `${from}\n${to}`;
    const band = map.get(key) ?? { key, from, to, value: 0, states: new Map() };
    band.value += value;
    map.set(key, band);
    return band;
  };
  for (const name of names) {
    const route = routes[name];
    const [workload, origin] = name.split("/");
    const value = loads ? (route.offered ?? 0) : 1;
    ranks.set(workload, RANKS.indexOf(route.criticality));
    if (!value) continue;
    add(first, origin, workload, value);
    for (const [pool, share] of Object.entries(route.shares)) {
      const band = add(second, workload, nameOf[grouping](pool), value * share);
      const poolState = pools[pool]?.state ?? "unknown";
      band.states.set(poolState, (band.states.get(poolState) ?? 0) + value * share);
    }
    if (route.shed) add(second, workload, SHED, value * route.shed);
  }
  return { first: [...first.values()], second: [...second.values()], ranks, loads };
}

// The state of each node: the worst that a tenth of its pools is in.
function statesOf(pools, grouping) {
  const counts = new Map();
  for (const [pool, row] of Object.entries(pools)) {
    const name = nameOf[grouping](pool);
    const states = counts.get(name) ?? new Map();
    counts.set(name, states.set(row.state, (states.get(row.state) ?? 0) + 1));
  }
  return new Map([...counts].map(([name, states]) => [name, worst(states)]));
}

function worst(states) {
  const whole = [...states.values()].reduce((sum, value) => sum + value, 0);
  return WORST.find((each) => (states.get(each) ?? 0) >= whole * TENTH && states.get(each)) ?? "healthy";
}

// One column of nodes from top to bottom; `scale` is pixels for one unit. Labels of thin nodes get their room.
function column(names, values, scale, height, x) {
  const heights = names.map((name) => Math.max(2, values.get(name) * scale));
  const slots = heights.map((each) => Math.max(each + GAP, SLOT));
  const used = slots.reduce((sum, each) => sum + each, 0);
  let top = Math.max(0, (height - used) / 2);
  return new Map(
    names.map((name, index) => {
      const y = top + (slots[index] - heights[index]) / 2;
      top += slots[index];
      return [name, { name, x, y, height: heights[index], value: values.get(name), left: y, right: y }];
    }),
  );
}

function sums(bands, end) {
  const values = new Map();
  for (const band of bands) values.set(band[end], (values.get(band[end]) ?? 0) + band.value);
  return values;
}

// Where everything is, in pixels of a picture that is `width` wide.
export function layout(routes, pools, grouping, width) {
  const { first, second, ranks, loads } = bandsOf(routes, pools, grouping);
  const states = statesOf(pools, grouping);
  const origins = sums(first, "from");
  const workloads = sums(first, "to");
  const targets = sums(second, "to");
  for (const name of states.keys()) if (!targets.has(name)) targets.set(name, 0);
  const order = (map) => [...map.keys()].sort();
  const rows = {
    origins: order(origins),
    workloads: order(workloads).sort((a, b) => ranks.get(a) - ranks.get(b)),
    targets: order(targets).sort((a, b) => (a === SHED) - (b === SHED)),
  };
  const most = Math.max(rows.origins.length, rows.workloads.length, rows.targets.length);
  const height = Math.max(260, Math.min(900, most * 27));
  const total = [...origins.values()].reduce((sum, value) => sum + value, 0) || 1;
  const scale = Math.max(0.5 * height, height - SLOT * most) / total;
  const narrow = width < NARROW;
  const longest = Math.max(...rows.targets.map((name) => (narrow ? short(name) : name).length), 4);
  const leftLabels = narrow ? 34 : 62;
  const rightLabels = Math.min(longest * (narrow ? 6 : 7) + (narrow ? 44 : 64), width * 0.45);
  const xs = [leftLabels, narrow ? leftLabels + (width - leftLabels - rightLabels) * 0.42 : width * 0.42, width - rightLabels];
  const columns = {
    origins: column(rows.origins, origins, scale, height, xs[0]),
    workloads: column(rows.workloads, workloads, scale, height, xs[1]),
    targets: column(rows.targets, targets, scale, height, xs[2]),
  };
  const bands = [
    ...place(first, columns.origins, columns.workloads, rows, scale),
    ...place(second, columns.workloads, columns.targets, rows, scale),
  ];
  for (const node of columns.targets.values()) node.state = node.name === SHED ? "down" : states.get(node.name);
  const bottom = Math.max(...Object.values(columns).flatMap((map) => [...map.values()].map((node) => node.y + node.height)), 100);
  return { columns, bands, height: Math.ceil(bottom + 14), width, loads, narrow, total };
}

function place(bands, from, to, rows, scale) {
  const orderOf = (names) => new Map(names.map((name, index) => [name, index]));
  const ends = new Map([...orderOf(rows.workloads), ...orderOf(rows.targets)]);
  const starts = new Map([...orderOf(rows.origins), ...orderOf(rows.workloads)]);
  return [...bands]
    .sort((a, b) => starts.get(a.from) - starts.get(b.from) || ends.get(a.to) - ends.get(b.to))
    .map((band) => {
      const start = from.get(band.from);
      const end = to.get(band.to);
      const thick = band.value * scale;
      const y1 = start.right + thick / 2;
      const y2 = end.left + thick / 2;
      start.right += thick;
      end.left += thick;
      const x1 = start.x + BAR;
      const middle = (x1 + end.x) / 2;
      return {
        key: band.key,
        path: `M${x1} ${y1.toFixed(1)}C${middle} ${y1.toFixed(1)} ${middle} ${y2.toFixed(1)} ${end.x} ${y2.toFixed(1)}`,
        thick: Math.max(0.6, thick),
        state: band.to === SHED ? "down" : stateOfBand(band),
        value: band.value,
      };
    });
}

// A band into several pools has the worst state that a tenth of it meets.
function stateOfBand(band) {
  if (!band.states.size) return "plain";
  return worst(band.states);
}

function make() {
  const root = svg("svg", { role: "group", "aria-label": "Traffic from origins through workloads to pools", preserveAspectRatio: "xMinYMin meet" });
  picture = { root, bands: svg("g", { class: "bands", "aria-hidden": "true" }), nodes: svg("g") };
  root.append(picture.bands, picture.nodes);
  byId("flow").append(root);
}

function makeNode(node) {
  const group = svg("g", { class: "node" });
  group.append(svg("rect", { width: BAR, rx: 2 }), svg("text", { class: "name" }), svg("text", { class: "value" }));
  if (node.column === "targets" && node.name !== SHED) {
    attribute(group, "tabindex", "0");
    attribute(group, "role", "button");
    group.dataset.lose = node.name;
  }
  return group;
}

function updateNode(group, node) {
  const [rect, name, value] = group.children;
  attribute(rect, "x", node.x);
  attribute(rect, "y", node.y.toFixed(1));
  attribute(rect, "height", node.height.toFixed(1));
  attribute(group, "data-state", node.state ?? "plain");
  const before = node.column === "origins";
  const x = before ? node.x - 7 : node.x + BAR + 7;
  const middle = node.y + node.height / 2;
  const figure = node.loads ? units(node.value) : percent(node.value / node.total);
  const shown = node.narrow ? short(node.name) : node.name;
  for (const label of [name, value]) {
    attribute(label, "x", x);
    attribute(label, "text-anchor", before ? "end" : "start");
  }
  const stacked = node.height > 26 || before || node.column === "workloads";
  attribute(name, "y", (stacked ? middle - 2 : middle + 4).toFixed(1));
  attribute(value, "y", (stacked ? middle + 12 : middle + 4).toFixed(1));
  text(name, shown);
  if (!stacked) attribute(value, "x", x + shown.length * (node.narrow ? 5.6 : 6.7) + 8);
  text(value, node.narrow && !stacked ? "" : figure);
  if (group.dataset.lose) {
    attribute(group, "aria-label", `${node.name}: ${node.state}, ${figure}. What if it is lost?`);
  }
}

const short = (name) => (name.length > 19 ? `${name.slice(0, 18)}…` : name);

export function drawFlow({ routes = {}, pools = {}, head = {} }) {
  if (!size) return;
  if (!picture) make();
  const grouping = groupingOf(Object.keys(pools));
  const plan = layout(routes, pools, grouping, size);
  attribute(picture.root, "viewBox", `0 0 ${plan.width} ${plan.height}`);
  attribute(picture.root, "width", plan.width);
  attribute(picture.root, "height", plan.height);
  keyed(picture.bands, plan.bands, (band) => band.key, () => svg("path", { fill: "none" }), (path, band) => {
    attribute(path, "d", band.path);
    attribute(path, "stroke-width", band.thick.toFixed(1));
    attribute(path, "class", band.state);
  });
  const nodes = Object.entries(plan.columns).flatMap(([column, map]) =>
    [...map.values()].map((node) => ({ ...node, column, loads: plan.loads, narrow: plan.narrow, total: plan.total })),
  );
  keyed(picture.nodes, nodes, (node) => `${node.column} ${node.name}`, makeNode, updateNode);
  text(byId("traffic-summary"), summary(plan, grouping, head.unit ?? "units"));
  if (byId("flow-table").open) drawTable(routes);
}

function summary(plan, grouping, unit) {
  const shedding = plan.bands.filter((band) => band.key.endsWith(`\n${SHED}`)).reduce((sum, band) => sum + band.value, 0);
  const what = plan.loads
    ? `${units(plan.total)} ${unit}/s offered`
    : "No client reports load now, so widths show the shares of the routes";
  return `${what}, by ${grouping}.${shedding ? ` ${percent(shedding / plan.total)} is shed.` : ""}`;
}

function drawTable(routes) {
  const rows = Object.entries(routes).flatMap(([name, route]) => {
    const [workload, origin] = name.split("/");
    const parts = route.shed ? [...Object.entries(route.shares), [SHED, route.shed]] : Object.entries(route.shares);
    return parts.map(([pool, share]) => ({ workload, origin, pool, load: route.offered ? units(route.offered * share) : percent(share) }));
  });
  const body = byId("flow-table").querySelector("tbody");
  keyed(body, rows.slice(0, 500), (row) => `${row.origin} ${row.workload} ${row.pool}`, () => el("tr", {}, el("td"), el("td"), el("td"), el("td", { class: "number" })), (line, row) => {
    [row.origin, row.workload, row.pool, row.load].forEach((value, index) => text(line.children[index], value));
  });
}
