// The table of pools. Two hundred rows change twice a second, so a cell is touched only when its text differs.

import { attribute, bar, byId, el, hidden, keyed, setBar, slashed, text, units } from "./dom.js";

export function onFilter(callback) {
  byId("pool-filter").addEventListener("input", callback);
  byId("pool-unwell").addEventListener("change", callback);
}

function makeRow([pool]) {
  const name = el("button", { type: "button", class: "link" }, ...slashed(pool));
  name.dataset.lose = pool;
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, name),
    el("td", {}, el("span", { class: "state" })),
    el("td", { class: "number" }),
    el("td", { class: "number" }),
    el("td", { class: "number wide" }),
    el("td", { class: "meter" }, bar()),
    el("td", { class: "wide why" }),
  );
}

function updateRow(line, [, row]) {
  const [, mark, load, usable, stated, meter, why] = line.children;
  text(mark.firstChild, row.state);
  attribute(mark.firstChild, "class", `state ${row.state}`);
  text(load, units(row.load));
  text(usable, units(row.usable));
  text(stated, units(row.capacity));
  const most = row.usable || row.capacity;
  setBar(meter.firstChild, most ? (row.load ?? 0) / most : 0, row.usable !== null && row.load > row.usable * 1.01 ? "bad" : "");
  text(why, row.why);
}

export function drawPools({ pools = {} }) {
  const wanted = byId("pool-filter").value.trim().toLowerCase();
  const onlyUnwell = byId("pool-unwell").checked;
  const all = Object.entries(pools).sort(([a], [b]) => (a < b ? -1 : 1));
  const rows = all.filter(([name, row]) => (!onlyUnwell || row.state !== "healthy") && `${name} ${row.geography} ${row.state}`.toLowerCase().includes(wanted));
  keyed(byId("pools"), rows, ([name]) => name, makeRow, updateRow);
  const unwell = all.filter(([, row]) => row.state !== "healthy").length;
  text(byId("pools-summary"), `${rows.length === all.length ? all.length : `${rows.length} of ${all.length}`} pools${unwell ? `, ${unwell} not healthy` : ", all healthy"}`);
  hidden(byId("pools").closest("table"), !rows.length);
}
