/** Real servers on loopback for the tests beside this file: an endpoint that serves tables, and pools. */

import { createHash } from "node:crypto";
import { type IncomingMessage, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";

import type { Json } from "./player.ts";

/** A running server, and what it was asked. */
export interface Running {
  readonly url: string;
  readonly asked: { path: string; headers: IncomingMessage["headers"]; body: string }[];
  close(): void;
}

type Answer = (asked: Running["asked"][number], answer: ServerResponse) => void;

/** A server that answers so. */
export async function serving(answer: Answer): Promise<Running> {
  const asked: Running["asked"] = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const piece of request) body += piece;
    asked.push({ path: request.url ?? "", headers: request.headers, body });
    answer(asked[asked.length - 1], response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url: `http://127.0.0.1:${port}`, asked, close };
}

/** What an endpoint serves now. `damage` spoils the body after its digest was made. */
export interface Served {
  table: Json;
  isDamaged?: boolean;
  isAway?: boolean;
}

/** An endpoint as `tieline web` is, without its stream of events. */
export async function endpoint(served: Served): Promise<Running> {
  return serving(({ path }, response) => {
    if (served.isAway) {
      response.writeHead(503).end("away\n");
    } else if (path === "/v1/reports") {
      response.writeHead(202).end();
    } else if (path.startsWith("/v1/table/")) {
      const text = JSON.stringify(served.table);
      const digest = createHash("sha256").update(text).digest("base64");
      const headers = { etag: `"${served.table.generation};json"`, "content-digest": `sha-256=:${digest}:` };
      response.writeHead(200, headers).end(served.isDamaged ? text.replace("eu", "us") : text);
    } else {
      response.writeHead(404).end();
    }
  });
}

/** A table of one route over these pools, which all have the same weight. */
export function tableOver(urls: Readonly<Record<string, string>>, seq = 1, more: Json = {}): Json {
  const names = Object.keys(urls);
  const share = Math.floor(1_000_000 / names.length);
  const pools = names.map((pool, place) => ({
    pool,
    weight_ppm: place === 0 ? 1_000_000 - share * (names.length - 1) : share,
    url: urls[pool],
    adapter: "openai",
    credential: "",
    geography: "eu",
    models: [{ model: "chat-large", name: `${pool}:big`, context_tokens: 8_000, features: [] }],
  }));
  const route = { workload: "chat", origin: "eu", pools, shed_ppm: 0, shed_reason: "", on_loss: {}, last_resort: [] };
  return { generation: `test:1:${seq}`, made_ms: 1, settings: {}, routes: [route], overlay_base64: "", parents: [], ...more };
}

/** Waits until the condition holds; fails after two minutes. */
export async function until(holds: () => boolean, what: string): Promise<void> {
  const endMs = Date.now() + 120_000;
  while (!holds()) {
    if (Date.now() > endMs) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
