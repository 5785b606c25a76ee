// The parts of the page that are lists of figures and words.

import { attribute, bar, byId, command, duration, el, hidden, keyed, percent, setBar, text, time, units } from "./dom.js";
import { now } from "./state.js";

const NOTICES_SHOWN = 5;
const OPERATORS = new Set(["order", "override", "freeze", "refusal", "expiring", "expiry", "policy"]);
const announced = new Map();
let allNotices = false;

byId("notices-more").addEventListener("click", (event) => {
  allNotices = !allNotices;
  event.target.setAttribute("aria-expanded", allNotices);
  byId("notices").classList.toggle("all", allNotices);
  labelMore(byId("notices").childElementCount);
});

function labelMore(count) {
  const button = byId("notices-more");
  hidden(button, count <= NOTICES_SHOWN);
  text(button, allNotices ? "Show fewer" : `Show all ${count}`);
}

export function drawHead({ head = {} }) {
  text(byId("leader"), head.leader ? `${head.leader}, epoch ${head.epoch}` : "–");
  text(byId("generation"), head.generation || "–");
  text(byId("policy"), head.policy || "–");
  byId("generation").dataset.publishedMs = head.published_ms ?? "";
}

export function tickAges(nowMs) {
  const published = Number(byId("generation").dataset.publishedMs);
  if (published) attribute(byId("generation"), "title", `published ${duration(nowMs - published)} ago`);
}

export function drawNotices({ notices = [] }) {
  const calm = byId("calm");
  hidden(calm, notices.length > 0);
  if (!notices.length) text(calm, "Nothing needs attention: nothing is shed, no alarm stands, and a controller leads.");
  keyed(byId("notices"), notices, (notice) => notice.key, () => el("li", { class: "notice" }), (line, notice) => {
    text(line, notice.text);
    line.classList.toggle("bad", notice.bad);
  });
  labelMore(notices.length);
  announce(notices);
}

// A screen reader hears of each notice once, when it begins, and not whenever its figures change.
function announce(notices) {
  const fresh = notices.filter((notice) => !announced.has(notice.key));
  for (const key of announced.keys()) if (!notices.some((notice) => notice.key === key)) announced.delete(key);
  for (const notice of fresh) announced.set(notice.key, true);
  if (fresh.length) text(byId("announcements"), fresh.map((notice) => notice.text).join(". "));
}

export function drawFigures({ routes = {}, providers = [], outlook, clients, head = {} }) {
  const all = Object.values(routes);
  const known = all.some((route) => route.offered);
  const offered = all.reduce((sum, route) => sum + (route.offered ?? 0), 0);
  const shed = all.reduce((sum, route) => sum + (route.offered ?? 0) * route.shed, 0);
  const capacity = providers.reduce((sum, row) => sum + (row.capacity ?? 0), 0);
  const load = providers.reduce((sum, row) => sum + (row.load ?? 0), 0);
  const lowest = outlook?.margins.reduce((least, row) => (!least || row.units < least.units ? row : least), null);
  const unit = head.unit ?? "units";
  const figures = [
    { name: "Offered", value: known ? units(offered) : "–", more: `${unit}/s` },
    { name: "Shed", value: known ? percent(offered ? shed / offered : 0) : "–", more: shed ? `${units(shed)} ${unit}/s` : "of what is offered", tone: shed ? "bad" : "" },
    { name: "Stated capacity in use", value: capacity ? percent(load / capacity) : "–", more: `${units(load)} of ${units(capacity)}/s` },
    { name: "Smallest N-1 margin", value: lowest ? units(lowest.units) : "–", more: lowest ? `${lowest.geography}, without ${lowest.lost}` : "not worked out yet", tone: lowest && lowest.units < 0 ? "bad" : "" },
    { name: "Burst", value: outlook ? outlook.burst_money_per_hour.toLocaleString("en") : "–", more: "money per hour" },
    { name: "Clients", value: clients ? units(clients.heard) : "–", more: clients?.silent ? `${units(clients.silent)} fell silent` : "report now", tone: clients?.silent ? "careful" : "" },
  ];
  keyed(byId("figures"), figures, (figure) => figure.name, (figure) => el("div", {}, el("dt", {}, figure.name), el("dd", { class: "big" }), el("dd", { class: "more" })), (box, figure) => {
    text(box.children[1], figure.value);
    text(box.children[2], figure.more);
    attribute(box, "data-tone", figure.tone ?? "");
  });
}

export function drawProviders({ providers = [], pools = {}, head = {} }) {
  const usable = {};
  for (const [pool, row] of Object.entries(pools)) {
    const name = pool.split("/")[0];
    usable[name] = (usable[name] ?? 0) + (row.usable ?? row.capacity ?? 0);
  }
  keyed(byId("providers"), providers, (row) => row.id, makeProvider, (card, row) => {
    const [title, figures, line, states] = card.firstChild.children;
    const most = usable[row.id] ?? row.capacity;
    text(title.children[0], row.id);
    text(title.children[1], row.mode === "act" ? "" : row.mode);
    text(figures, row.load === null ? `${units(most)} ${head.unit ?? "units"}/s usable` : `${units(row.load)} of ${units(most)} usable ${head.unit ?? "units"}/s`);
    setBar(line, most ? (row.load ?? 0) / most : 0, most && row.load > most ? "bad" : "");
    keyed(states, Object.entries(row.states), ([name]) => name, ([name]) => el("span", { class: `state ${name}` }), (mark, [name, count]) => text(mark, `${count} ${name}`));
  });
}

function makeProvider(row) {
  const button = el("button", { type: "button", class: "card" });
  button.dataset.lose = row.id;
  button.append(
    el("span", { class: "card-title" }, el("strong"), el("em")),
    el("span", { class: "card-figures" }),
    bar(),
    el("span", { class: "states" }),
    el("span", { class: "ask" }, "What if it is lost?"),
  );
  return el("li", {}, button);
}

export function drawMargins({ outlook }) {
  const rows = outlook?.margins ?? [];
  const largest = Math.max(1, ...rows.map((row) => Math.abs(row.units)));
  keyed(byId("margins"), rows, (row) => row.geography, () => el("tr", {}, el("th", { scope: "row" }), el("td"), el("td", { class: "number" }), el("td", { class: "meter" }, bar())), (line, row) => {
    const [name, lost, figure, meter] = line.children;
    text(name, row.geography);
    text(lost, row.lost);
    text(figure, units(row.units));
    figure.classList.toggle("bad", row.units < 0);
    setBar(meter.firstChild, Math.abs(row.units) / largest, row.units < 0 ? "bad" : "good");
  });
}

export function drawSpend({ outlook, head = {} }) {
  if (!outlook) return;
  text(byId("spend-summary"), `In ${head.unit ?? "units"}/s. Burst costs ${outlook.burst_money_per_hour.toLocaleString("en")} per hour now.`);
  keyed(byId("spend"), outlook.providers, (row) => row.id, () => el("tr", {}, el("th", { scope: "row" }), el("td", { class: "number" }), el("td", { class: "number" }), el("td", { class: "meter" }, bar()), el("td", { class: "number" })), (line, row) => {
    const part = row.committed ? row.used / row.committed : 0;
    text(line.children[0], row.id);
    text(line.children[1], units(row.committed));
    text(line.children[2], row.committed ? percent(part) : "–");
    setBar(line.children[3].firstChild, part, "good");
    text(line.children[4], units(row.burst));
  });
  keyed(byId("commitments"), outlook.commitments, (row) => `${row.provider} ${row.period} ${row.kind}`, () => el("li"), (line, row) => {
    const part = row.projected === null ? null : row.projected / row.committed;
    const ahead = part === null ? "not metered yet" : `${percent(part)} of it by its end, if load stays as now`;
    text(line, `${row.provider}: ${units(row.committed)} ${row.kind} this ${row.period}; ${ahead}.`);
  });
}

export function drawOrders({ orders = [] }) {
  hidden(byId("orders-none"), orders.length > 0);
  keyed(byId("orders"), orders, (order) => order.id, makeOrder, (line, order) => {
    line.dataset.expiresMs = order.expires_ms ?? "";
    text(line.querySelector(".what"), order.text);
    text(line.querySelector(".why"), `${order.actor}: ${order.reason}`);
  });
  tickOrders(now());
}

function makeOrder(order) {
  const line = el("li", {}, el("div", {}, el("strong", { class: "what" }), el("span", { class: "why" })), el("span", { class: "countdown" }));
  if (order.command) line.append(command(`${order.command} --reason "…"`));
  return line;
}

export function tickOrders(nowMs) {
  for (const line of byId("orders").children) {
    const expires = Number(line.dataset.expiresMs);
    text(line.querySelector(".countdown"), expires ? `ends in ${duration(expires - nowMs)}` : "");
  }
}

export function drawOffers({ offers = [] }) {
  hidden(byId("offers-panel"), !offers.length);
  keyed(byId("offers"), offers, (offer) => offer.id, () => el("li", {}, el("div", {}, el("strong", { class: "what" }), el("span", { class: "why" })), el("span", { class: "state" })), (line, offer) => {
    text(line.querySelector(".what"), offer.text);
    text(line.querySelector(".why"), [offer.cause, ...offer.answers, ...offer.accepted].join("; "));
    const mark = line.querySelector(".state");
    text(mark, offer.state);
    attribute(mark, "class", `state ${offer.open ? "degraded" : offer.accepted.length ? "healthy" : "plain"}`);
  });
}

export function drawControllers({ controllers = [] }) {
  hidden(byId("controllers-none"), controllers.length > 0);
  keyed(byId("controllers"), controllers, (row) => row.id, () => el("li", {}, el("div", {}, el("strong"), el("span", { class: "why" })), el("span", { class: "state" })), (line, row) => {
    text(line.querySelector("strong"), `${row.id} on ${row.host}`);
    text(line.querySelector(".why"), row.wrong.length ? row.wrong.join("; ") : `version ${row.version}`);
    const mark = line.querySelector(".state");
    text(mark, row.state);
    attribute(mark, "class", `state ${row.unwell ? "down" : row.state === "leads" ? "healthy" : "plain"}`);
  });
}

export function drawClients({ clients, head = {} }) {
  const generations = clients?.generations ?? [];
  const most = Math.max(1, ...generations.map(([, count]) => count));
  const silent = clients?.silent ? ` ${units(clients.silent)} have fallen silent.` : "";
  text(byId("clients-summary"), clients ? `${units(clients.heard)} report now.${silent}` : "Not known.");
  keyed(byId("clients"), generations.slice(0, 8), ([name]) => name, () => el("li", {}, el("span", { class: "name" }), bar(), el("span", { class: "number" })), (line, [name, count]) => {
    text(line.children[0], `${name || "no table"}${name === head.generation ? " (newest)" : ""}`);
    setBar(line.children[1], count / most, name === head.generation ? "good" : "careful");
    text(line.children[2], units(count));
  });
}

export function drawTimeline({ timeline = [] }) {
  hidden(byId("timeline-none"), timeline.length > 0);
  hidden(byId("timeline"), !timeline.length);
  const newestFirst = [...timeline].reverse();
  keyed(byId("timeline"), newestFirst, (entry) => `${entry.at_ms} ${entry.kind} ${entry.text}`, makeEntry, () => {});
}

function makeEntry(entry) {
  const when = el("time", { datetime: new Date(entry.at_ms).toISOString(), title: new Date(entry.at_ms).toLocaleString("en-GB") }, time(entry.at_ms));
  const kind = el("span", { class: "kind" }, entry.kind.replaceAll("_", " ") + (entry.phase === "ends" ? " over" : ""));
  const words = el("div", {}, el("p", {}, entry.text));
  const by = entry.who && OPERATORS.has(entry.kind) ? `by ${entry.who}` : "";
  const why = [by, ...entry.why].filter(Boolean).join("; ");
  if (why) words.append(el("p", { class: "why" }, why));
  return el("li", { "data-severity": entry.phase === "ends" ? "over" : entry.severity }, when, kind, words);
}
