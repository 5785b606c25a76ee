// Asks the server what the loss of a provider, a region or a pool would leave, and shows the commands that an
// operator could give. Nothing here changes anything.

import { byId, command, el, text, units } from "./dom.js";
import { state } from "./state.js";

const ROUTES_SHOWN = 8;
const POOLS_SHOWN = 8;
let asking = null;
let lost = "";

// Whatever has `data-lose` opens the question, by click, Enter or the space bar.
export function openable(root) {
  const open = (event) => {
    const place = event.target.closest?.("[data-lose]");
    if (place) ask(place.dataset.lose);
    return Boolean(place);
  };
  root.addEventListener("click", open);
  root.addEventListener("keydown", (event) => {
    const isButton = event.target.tagName === "BUTTON"; // those turn keys into clicks by themselves
    if (!isButton && (event.key === "Enter" || event.key === " ") && open(event)) event.preventDefault();
  });
  byId("growth").addEventListener("change", () => ask(lost));
  byId("what-if").addEventListener("close", () => asking?.abort());
}

async function ask(name) {
  lost = name;
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  text(byId("what-if-title"), `What if ${name} is lost?`);
  text(byId("what-if-about"), about(name));
  text(byId("what-if-said"), "Working it out.");
  byId("what-if-answer").replaceChildren();
  byId("what-if-details").replaceChildren();
  byId("what-if-commands").replaceChildren(...commandsFor(name).map(([words, typed]) => el("li", {}, el("div", {}, el("strong", {}, words)), command(typed))));
  if (!byId("what-if").open) byId("what-if").showModal();
  try {
    const query = new URLSearchParams({ lose: name, growth: byId("growth").value });
    const answer = await fetch(`/live/what-if?${query}`, { signal });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    show(await answer.json());
  } catch (error) {
    if (error.name !== "AbortError") text(byId("what-if-said"), `There is no answer: ${error.message}`);
  }
}

function about(name) {
  const pools = Object.entries(state.sections.pools ?? {}).filter(([pool]) => pool === name || pool.startsWith(`${name}/`));
  const load = pools.reduce((sum, [, row]) => sum + (row.load ?? 0), 0);
  const why = pools.length === 1 && pools[0][1].why ? `: ${pools[0][1].why}` : "";
  const count = pools.length === 1 ? `It is ${pools[0][1].state}${why}` : `It has ${pools.length} pools`;
  return `${count}. It carries ${units(load)} ${state.sections.head?.unit ?? "units"}/s now.`;
}

const commandsFor = (name) => [
  ["Take it out of routing", `tieline drain ${name} --for 30m --reason "…"`],
  ["Keep its load where it is", `tieline freeze ${name} --for 30m --reason "…"`],
  ["Ask the same at a terminal", `tieline whatif --lose ${name}`],
];

function show(answer) {
  text(byId("what-if-said"), answer.summary);
  const broken = answer.broken.map((words) => el("p", { class: "notice bad" }, words));
  const figures = answer.figures.filter(([, now, then]) => now || then);
  byId("what-if-answer").replaceChildren(...broken, table(["", "now", "then"], figures));
  const parts = [];
  if (answer.routes.length) {
    parts.push(el("h3", {}, "Routes that would shed or fail"), table(["Route", "offered/s", "shed/s", "fails/s"], answer.routes.slice(0, ROUTES_SHOWN), answer.routes.length));
  }
  if (answer.pools.length) {
    parts.push(el("h3", {}, "Pools whose load would change"), table(["Pool", "now/s", "then/s", "limit/s"], answer.pools.slice(0, POOLS_SHOWN), answer.pools.length));
  }
  byId("what-if-details").replaceChildren(...parts);
}

function table(headings, rows, count = rows.length) {
  const cell = (value, index) => (index ? el("td", { class: "number" }, typeof value === "number" ? units(value) : value) : el("th", { scope: "row" }, value));
  const body = el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map(cell))));
  const first = headings.map((name, index) => (name ? el("th", { scope: "col", class: index ? "number" : "" }, name) : el("td")));
  const whole = el("table", { class: "plain" }, el("thead", {}, el("tr", {}, ...first)), body);
  const more = count > rows.length ? [el("p", { class: "sub" }, `and ${count - rows.length} more`)] : [];
  return el("div", { class: "scroll" }, whole, ...more);
}
