// What all parts of the page share: elements, lists by key, and figures as people read them.
// Whatever comes from outside becomes text, never markup.

const compact = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

// An element with attributes and children; strings become text.
export function el(name, attributes = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function svg(name, attributes = {}) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
}

// Each of these changes the document only where something differs, as layout costs the most.
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

export function attribute(node, name, value) {
  const wanted = String(value);
  if (node.getAttribute(name) !== wanted) node.setAttribute(name, wanted);
}

export function hidden(node, value) {
  if (node.hidden !== value) node.hidden = value;
}

// Keeps the children of `parent` as `items` are: nodes of keys that stay are updated and not made anew.
export function keyed(parent, items, keyOf, make, update) {
  const nodes = (parent.nodesByKey ??= new Map());
  const wanted = new Set();
  let before = null;
  for (const item of items) {
    let key = String(keyOf(item));
    while (wanted.has(key)) key += "+";
    wanted.add(key);
    let node = nodes.get(key);
    if (!node) nodes.set(key, (node = make(item)));
    update(node, item);
    const place = before ? before.nextSibling : parent.firstChild;
    if (place !== node) parent.insertBefore(node, place);
    before = node;
  }
  for (const [key, node] of nodes) {
    if (!wanted.has(key)) {
      node.remove();
      nodes.delete(key);
    }
  }
}

// The name of a pool, which may be broken after each slash and nowhere else.
export function slashed(name) {
  return name.split("/").flatMap((part, index, parts) => (index < parts.length - 1 ? [`${part}/`, document.createElement("wbr")] : [part]));
}

// A bar of `part` of one, which only repeats to the eye what a number beside it says.
export function bar() {
  return el("span", { class: "bar", "aria-hidden": "true" }, el("span", { class: "fill" }));
}

export function setBar(node, part, tone) {
  const width = `${Math.round(Math.max(0, Math.min(1, part || 0)) * 1000) / 10}%`;
  const fill = node.firstChild;
  if (fill.style.width !== width) fill.style.width = width;
  attribute(node, "data-tone", tone || "");
}

export function units(value) {
  if (value === null || value === undefined) return "–";
  return Math.abs(value) < 1000 ? whole.format(value) : compact.format(value);
}

export const percent = (part) => `${(part * 100).toFixed(part && Math.abs(part) < 0.1 ? 1 : 0)}%`;
export const time = (atMs) => clock.format(atMs);

export function duration(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 120) return `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// A command to paste, with a button that copies it.
export function command(words) {
  const code = el("code", {}, words);
  const button = el("button", { type: "button", class: "quiet copy" }, "Copy");
  button.setAttribute("aria-label", `Copy: ${words}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return el("span", { class: "command" }, code, button);
}
