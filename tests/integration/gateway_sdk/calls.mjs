// Makes calls by the openai SDK of npm: a line of JSON in for each (`url`, `key`, `sdk`, `json`, `file`, `headers`,
// `retries`), and a line of JSON out that says what became of it, in the words of tests/integration/outcomes.md.
import OpenAI, { APIConnectionError, APIError, toFile } from "openai";
import { createInterface } from "node:readline";

const TERMINATED = new Set(["terminated", "fetch failed", "Premature close"]);

function outcome(result, headers) {
  const pool = (headers.get("x-tieline-pool") ?? "").startsWith("azure/") ? "faulty" : "other";
  return `${result} ${pool} ${headers.get("x-tieline-attempts") ?? "-"}`.trim();
}

function isBroken(error) {
  return error instanceof APIConnectionError || TERMINATED.has(error.message);
}

function ofFailure(error, headers, isStream) {
  if (error instanceof APIError && error.status) return outcome(String(error.status), error.headers);
  if (isBroken(error)) return headers && isStream ? outcome("broken", headers) : "broken";
  return outcome(error instanceof APIError ? "error" : String(error), headers ?? new Headers());
}

function ofParts(parts, headers) {
  if (!parts.length) return outcome("nothing", headers);
  const reasons = new Set(parts.flatMap((part) => (part.choices ?? []).map((choice) => choice.finish_reason)));
  const kind = reasons.has("error") ? "response.failed" : parts.at(-1).type;
  const results = { "response.failed": "error", "response.incomplete": "incomplete" };
  return outcome(results[kind] ?? "", headers);
}

async function call({ url, key, sdk, json, file, headers: extra, retries, isStream }) {
  const llm = new OpenAI({ apiKey: key, baseURL: url, maxRetries: retries });
  const names = sdk.split(".");
  const verb = names.pop();
  const place = names.reduce((value, name) => value[name], llm);
  const body = { ...json };
  if (file) body[file.field] = await toFile(Buffer.from(file.content), file.name, { type: file.type });
  let headers = null;
  const parts = [];
  try {
    const { data, response } = await place[verb](body, { headers: extra }).withResponse();
    headers = response.headers;
    if (isStream) {
      for await (const part of data) parts.push(part);
      return ofParts(parts, headers);
    }
    if (typeof data.arrayBuffer === "function") await data.arrayBuffer();
    return outcome("", headers);
  } catch (error) {
    return ofFailure(error, headers, isStream);
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  call(asked).then((result) => console.log(JSON.stringify({ id: asked.id, result })));
}
