/** The client over real sockets: tables, the last good file, overlays, reports, and requests that go elsewhere. */

import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";

import { Client, type ClientOptions } from "../src/index.ts";
import type { Json } from "./player.ts";
import { type Running, type Served, endpoint, serving, tableOver, until } from "./servers.ts";

const A = "azure/uksouth/a";
const B = "gcp/europe-west4/b";
const ASKED = { method: "POST", headers: { "content-type": "application/json" } };
const CHAT = { id: "c-1", object: "chat.completion", choices: [{ message: { content: "There." } }] };

async function started(context: TestContext, served: Served, more: Partial<ClientOptions> = {}): Promise<[Client, Running]> {
  const server = await endpoint(served);
  const client = await Client.start({ url: server.url, token: "secret", workload: "chat", origin: "eu", ...more });
  context.after(async () => {
    await client.close();
    server.close();
  });
  return [client, server];
}

async function pool(context: TestContext, status: number, body: Json): Promise<Running> {
  const server = await serving((_, response) => {
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
  });
  context.after(() => server.close());
  return server;
}

function folder(context: TestContext): string {
  const place = mkdtempSync(join(tmpdir(), "tieline-"));
  context.after(() => rmSync(place, { recursive: true }));
  return place;
}

function ask(client: Client, more: Json = {}): Promise<Response> {
  const body = JSON.stringify({ model: "chat-large", messages: [], ...more });
  return client.fetch(`${client.baseURL}/chat/completions`, { ...ASKED, body });
}

test("a request that a pool fails is served by another one, under that pool's name for the model", async (context) => {
  const broken = await pool(context, 503, { error: { message: "no" } });
  const good = await pool(context, 200, CHAT);
  const [client] = await started(context, { table: tableOver({ [A]: `${broken.url}/v1`, [B]: `${good.url}/v1` }) });
  assert.ok(await client.ready(60_000), client.status.error);
  const answers = await Promise.all([ask(client), ask(client), ask(client)]);
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200]);
  assert.equal(answers[0].headers.get("x-tieline-pool"), B);
  assert.equal(answers[0].headers.get("x-tieline-generation"), "test:1:1");
  assert.ok(broken.asked.length > 0);
  assert.equal(JSON.parse(good.asked[0].body).model, `${B}:big`);
  assert.equal(good.asked[0].headers.authorization, undefined);
});

test("what refers to a response goes to the pool that made it", async (context) => {
  const made = { ...CHAT, id: "resp-1", object: "response" };
  const pools = { [A]: await pool(context, 200, made), [B]: await pool(context, 200, { ...made, id: "resp-2" }) };
  const urls = Object.fromEntries(Object.entries(pools).map(([name, { url }]) => [name, `${url}/v1`]));
  const [client] = await started(context, { table: tableOver(urls) });
  await client.ready(60_000);
  const body = { model: "chat-large", input: "x", store: true };
  const send = (more: Json) => {
    return client.fetch(`${client.baseURL}/responses`, { ...ASKED, body: JSON.stringify({ ...body, ...more }) });
  };
  const holder = (await send({})).headers.get("x-tieline-pool");
  const id = holder === A ? "resp-1" : "resp-2";
  for (let turn = 0; turn < 6; turn++) {
    const answer = await send({ previous_response_id: id });
    assert.deepEqual([answer.headers.get("x-tieline-pool"), answer.headers.get("x-tieline-reason")], [holder, "held"]);
  }
});

test("an older table, one of another lineage and a damaged one leave the table in force", async (context) => {
  const served: Served = { table: tableOver({ [A]: "http://127.0.0.1:1" }, 5) };
  const [client, server] = await started(context, served);
  await client.ready(60_000);
  const news: [Served, RegExp][] = [
    [{ table: tableOver({ [B]: "http://127.0.0.1:1" }, 4) }, /^$/],
    [{ table: { ...served.table, generation: "other:1:9" } }, /LINEAGE/],
    [{ table: tableOver({ [B]: "http://127.0.0.1:1" }, 9), isDamaged: true }, /damaged/],
    [{ table: { ...tableOver({ [B]: "http://127.0.0.1:1" }, 9), routes: [] } }, /empty table/],
  ];
  for (const [next, error] of news) {
    const before = server.asked.length;
    Object.assign(served, { isDamaged: false }, next);
    const isSettled = () => error.test(client.status.error) || client.status.generation !== "test:1:5";
    await until(() => server.asked.length > before + 2 && isSettled(), String(error));
    assert.equal(client.status.generation, "test:1:5");
  }
  Object.assign(served, { isDamaged: false, table: { ...served.table, ...tableOver({ [B]: "http://x" }, 1), generation: "next:1:1", parents: ["test"] } });
  await until(() => client.status.generation === "next:1:1", "a lineage that was adopted");
});

test("without an endpoint the client starts from its last good file, unless that is damaged", async (context) => {
  const lastGood = join(folder(context), "routes");
  const good = await pool(context, 200, CHAT);
  const served: Served = { table: tableOver({ [A]: `${good.url}/v1` }, 3) };
  const [first] = await started(context, served, { lastGood });
  await until(() => first.status.generation === "test:1:3" && first.status.fileError === "", "the first table");
  await first.close();
  const [second] = await started(context, { ...served, isAway: true }, { lastGood });
  assert.deepEqual([second.status.state, second.status.generation], ["last_good", "test:1:3"]);
  assert.equal((await ask(second)).status, 200);
  writeFileSync(lastGood, readFileSync(lastGood, "utf8").replace("eu", "us"));
  const [third] = await started(context, { ...served, isAway: true }, { lastGood });
  assert.match(third.status.fileError, /damaged/);
  const answer = await ask(third);
  assert.deepEqual([answer.status, answer.headers.get("x-should-retry")], [503, "false"]);
  assert.match((await answer.json()).error.code, /tieline_no_table/);
});

test("a signed overlay excludes pools, and one that is not signed does not", async (context) => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const digest = Buffer.from(await crypto.subtle.digest("SHA-256", raw)).toString("hex");
  const now = Date.now();
  const payload = JSON.stringify({ id: "o1", namespace: "tieline", exclude: ["azure"], issued_ms: now, expires_ms: now + 60_000, actor: "a", reason: "r" });
  const signed = (text: string) => {
    const signature = sign(null, Buffer.from(`tieline-overlay-1\n${text}`), privateKey).toString("base64");
    const envelope = { payload, key: digest.slice(0, 16), signature };
    return Buffer.from(JSON.stringify(envelope)).toString("base64");
  };
  const urls = { [A]: "http://127.0.0.1:1", [B]: "http://127.0.0.1:2" };
  const served: Served = { table: tableOver(urls, 1, { overlay_base64: signed("something else") }) };
  const pem = publicKey.export({ type: "spki", format: "pem" }).toString();
  const [client] = await started(context, served, { overlayKeys: [pem] });
  await client.ready(60_000);
  assert.match(client.status.overlayError, /signature/);
  served.table = tableOver(urls, 2, { overlay_base64: signed(payload) });
  await until(() => client.status.overlay === "o1", "the overlay");
  const picks = Array.from({ length: 20 }, () => client.pick("chat-large"));
  assert.ok(picks.every((pick) => pick.kind === "route" && pick.target.pool === B));
});

test("reports say what was asked for and how it ended, and a closing client says so", async (context) => {
  const broken = await pool(context, 503, {});
  const good = await pool(context, 200, { ...CHAT, usage: { prompt_tokens: 5, completion_tokens: 2 } });
  const [client, server] = await started(context, { table: tableOver({ [A]: `${broken.url}/v1`, [B]: `${good.url}/v1` }) });
  await client.ready(60_000);
  for (let turn = 0; turn < 12; turn++) assert.equal((await ask(client)).status, 200);
  assert.ok(await client.flush(60_000));
  await client.close();
  const sent = server.asked.filter(({ path }) => path === "/v1/reports");
  assert.equal(sent[0].headers.authorization, "Bearer secret");
  const reports: Json[] = sent.map(({ body }) => JSON.parse(body));
  assert.deepEqual(reports.map(({ sequence }) => sequence), reports.map((_, place) => place + 1));
  assert.equal(reports.at(-1)?.state, "off");
  assert.ok(reports.some(({ urgent }) => urgent), "an ejection is reported at once");
  const sum = (pick: (report: Json) => number[]) => reports.flatMap(pick).reduce((total, value) => total + value, 0);
  assert.equal(sum(({ flows }) => flows.map(({ requests }: Json) => requests)), 12);
  const of = (name: string, result: string) => {
    return sum(({ pools }) => pools.filter(({ pool }: Json) => pool === name).map(({ outcomes }: Json) => outcomes[result] ?? 0));
  };
  assert.equal(of(B, "ok"), 12);
  assert.equal(of(A, "server_error"), broken.asked.length);
  assert.equal(sum(({ pools }) => pools.map(({ units }: Json) => units)), 12 * 7);
});

test("a request that names another origin goes by that origin's route, if the client follows it", async (context) => {
  const [here, there] = [await pool(context, 200, CHAT), await pool(context, 200, CHAT)];
  const table = tableOver({ [A]: `${here.url}/v1` });
  const [route] = tableOver({ [B]: `${there.url}/v1` }).routes;
  table.routes.push({ ...route, origin: "us" });
  const [client, server] = await started(context, { table }, { origins: ["us"] });
  await client.ready(60_000);
  const send = (origin: string) => {
    const headers = { ...ASKED.headers, "x-tieline-origin": origin };
    const body = JSON.stringify({ model: "chat-large" });
    return client.fetch(`${client.baseURL}/chat/completions`, { method: "POST", headers, body });
  };
  assert.equal((await send("us")).headers.get("x-tieline-pool"), B);
  assert.equal((await send("eu")).headers.get("x-tieline-pool"), A);
  assert.match(await (await send("mars")).text(), /tieline_no_route/);
  assert.ok(server.asked.some(({ path }) => path === "/v1/table/chat?origin=eu&origin=us"));
});

test("a caller that goes away ends its request", async (context) => {
  const silent = await serving(() => undefined);
  context.after(() => silent.close());
  const [client] = await started(context, { table: tableOver({ [A]: `${silent.url}/v1` }) });
  await client.ready(60_000);
  const leaving = new AbortController();
  const body = JSON.stringify({ model: "chat-large" });
  const asking = client.fetch(`${client.baseURL}/chat/completions`, { ...ASKED, body, signal: leaving.signal });
  await until(() => silent.asked.length > 0, "the request at the pool");
  leaving.abort(new Error("enough"));
  await assert.rejects(asking, /enough/);
});

test("a secret is sent to its own hosts only", async (context) => {
  const good = await pool(context, 200, CHAT);
  const table = tableOver({ [A]: `${good.url}/v1`, [B]: "https://elsewhere.example.com/v1" });
  for (const row of table.routes[0].pools) row.credential = "key";
  const credentials = { key: { secret: "s3cret", hosts: ["llm.example.com"] } };
  const [client] = await started(context, { table }, { credentials });
  await client.ready(60_000);
  // The client starts at a random place of its sequence of pools, so B may be chosen only by a later request.
  const isOut = () => client.explain().find((row) => row.pool === B)?.out === "auth";
  for (let turn = 0; turn < 20 && !isOut(); turn++) {
    assert.equal((await ask(client)).headers.get("x-tieline-pool"), A);
  }
  assert.ok(isOut());
  assert.ok(good.asked.every(({ headers }) => headers.authorization === "Bearer s3cret"));
});
