// Follows the server and draws what changes. Each part of the page is drawn in a task of its own, so that keys
// and clicks are never kept waiting for a whole picture.

import { byId, duration, text, attribute } from "./dom.js";
import { drawFlow, onGrouping } from "./flow.js";
import * as panels from "./panels.js";
import { drawPools, onFilter } from "./pools.js";
import { now, state, take } from "./state.js";
import { openable } from "./what_if.js";

const QUIET_MS = 6000; // the server says something at least every two seconds

// What is drawn, and by which sections it must be drawn anew.
const PARTS = [
  [["head"], panels.drawHead],
  [["notices"], panels.drawNotices],
  [["routes", "providers", "outlook", "clients", "head"], panels.drawFigures],
  [["routes", "pools", "head"], drawFlow],
  [["providers", "pools", "head"], panels.drawProviders],
  [["outlook", "head"], panels.drawMargins],
  [["outlook", "head"], panels.drawSpend],
  [["orders"], panels.drawOrders],
  [["offers"], panels.drawOffers],
  [["pools"], drawPools],
  [["timeline"], panels.drawTimeline],
  [["controllers"], panels.drawControllers],
  [["clients", "head"], panels.drawClients],
];
const waiting = new Set();
let drawing = false;

const breath = () => new Promise((resolve) => setTimeout(resolve, 0));

async function draw() {
  if (drawing) return;
  drawing = true;
  while (waiting.size) {
    for (const part of PARTS) {
      if (!waiting.delete(part)) continue;
      part[1](state.sections);
      await breath();
    }
  }
  drawing = false;
}

function changed(names) {
  for (const part of PARTS) if (part[0].some((name) => names.has(name))) waiting.add(part);
  document.documentElement.dataset.drawn = state.atMs;
  draw();
}

function follow() {
  const events = new EventSource("/live/events");
  const heard = (event) => {
    const message = JSON.parse(event.data);
    state.heardMs = Date.now();
    if (event.type === "state") state.sections = {};
    changed(take(message));
    tick();
  };
  events.addEventListener("state", heard);
  events.addEventListener("change", heard);
  events.addEventListener("waiting", (event) => {
    state.heardMs = Date.now();
    text(byId("calm"), JSON.parse(event.data).why);
  });
  events.addEventListener("error", () => {
    // The browser connects again by itself, unless the server refused: then a sign-in may be needed.
    if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 3000);
  });
}

function tick() {
  const silentMs = Date.now() - state.heardMs;
  const lost = state.heardMs && silentMs > QUIET_MS;
  const words = !state.heardMs ? "Connecting" : lost ? `Nothing heard for ${duration(silentMs)}` : "Live";
  attribute(byId("connection"), "data-state", !state.heardMs ? "waiting" : lost ? "lost" : "live");
  text(byId("connection-text"), words);
  attribute(document.body, "data-stale", lost ? "yes" : "no");
  panels.tickOrders(now());
  panels.tickAges(now());
}

onGrouping(() => changed(new Set(["routes"])));
onFilter(() => changed(new Set(["pools"])));
openable(document);
byId("sign-out").hidden = !document.cookie.includes("tieline_signed_in=1");
setInterval(tick, 1000);
tick();
follow();
