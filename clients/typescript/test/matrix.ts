/**
 * The real openai SDK through this client, against stand-ins for providers and their faults. Reads from standard
 * input what to try: where the table and the stand-ins are, and rows of tests/integration/outcomes.md. Prints a
 * JSON line for each case that does not end as its row says, and last a line with counts.
 */

import OpenAI, { APIError } from "openai";

import { Client, StreamBrokenError } from "../src/index.ts";

interface Row {
  readonly order: { readonly kind: string } | null;
  readonly everywhere: boolean;
  readonly outcomes: Readonly<Record<string, string>>; // column -> what is expected; `|` between two that may be
}

interface Task {
  readonly url: string;
  readonly faulty: string; // the admin address of the stand-in whose faults these are
  readonly other: string;
  readonly rows: readonly Row[];
}

const MODEL = "chat-large";
const ASKED = { model: MODEL, messages: [{ role: "user" as const, content: "Where does it flow?" }], max_tokens: 24 };
const SECOND = new Set(["stale_connections", "burst"]); // they strike a request only after another one
const ERROR = /"error": ?\{|"type": ?"error"|"finish_reason": ?"error"|"response\.failed"/;

/** Makes the request; gives a word for what came ("" for a complete answer), and the headers. */
type Ask = (llm: OpenAI) => Promise<{ word: string; headers: Headers }>;

const COLUMNS: Readonly<Record<string, Ask>> = {
  text: async (llm) => {
    const { data, response } = await llm.chat.completions.create(ASKED).withResponse();
    return { word: data.choices.length > 0 ? "" : "no choices", headers: response.headers };
  },
  "chat stream": async (llm) => {
    const { data, response } = await llm.chat.completions.create({ ...ASKED, stream: true }).withResponse();
    return { word: await read(data, '"finish_reason":"length"'), headers: response.headers };
  },
  "responses stream": async (llm) => {
    const asked = { model: MODEL, input: "Where does it flow?", max_output_tokens: 24, stream: true as const };
    const { data, response } = await llm.responses.create(asked).withResponse();
    return { word: await read(data, '"response.completed"'), headers: response.headers };
  },
};

async function read(events: AsyncIterable<unknown>, end: string): Promise<string> {
  let text = "";
  try {
    for await (const event of events) text += JSON.stringify(event);
  } catch (error) {
    if (error instanceof StreamBrokenError) return "broken";
    if (error instanceof APIError) return "error";
    throw error;
  }
  if (ERROR.test(text)) return "error";
  if (text.includes('"response.incomplete"')) return "incomplete";
  return text.includes(end) ? "" : "no end";
}

/** One case with a client of its own: what it does to a pool is nothing to the next. */
async function ended(task: Task, row: Row, column: string): Promise<string> {
  let tokens = 0;
  let asked = 0;
  const client = await Client.start({
    url: task.url,
    workload: "chat",
    origin: "eu",
    credentials: { key: () => ({ token: `token-${++tokens}`, expiresInMs: 3_600_000 }) },
  });
  try {
    if (!(await client.ready(60_000))) return `not ready: ${client.status.error}`;
    const count = (input: RequestInfo | URL, init?: RequestInit) => {
      asked++;
      return client.fetch(input, init);
    };
    const llm = new OpenAI({ baseURL: client.baseURL, apiKey: "unused", fetch: count });
    const calls = SECOND.has(row.order?.kind ?? "") ? 2 : 1;
    let outcome = "";
    for (let call = 0; call < calls; call++) outcome = await wordFor(COLUMNS[column], llm);
    const isOut = client.explain().some(({ out, modelsOut }) => out !== null || Object.keys(modelsOut).length > 0);
    return `${outcome}${isOut ? " out" : ""}${asked === calls ? "" : `, asked ${asked} times`}`;
  } finally {
    await client.close();
  }
}

async function wordFor(ask: Ask, llm: OpenAI): Promise<string> {
  try {
    const { word, headers } = await ask(llm);
    return told(word, headers);
  } catch (error) {
    if (error instanceof APIError && error.headers !== undefined) return told(String(error.status), error.headers);
    return String(error);
  }
}

function told(word: string, headers: Headers): string {
  const pool = (headers.get("x-tieline-pool") ?? "").startsWith("azure/") ? "faulty" : "other";
  return `${word} ${pool} ${headers.get("x-tieline-attempts") ?? "-"}`.trim();
}

/** Switch on the fault of this row and no other. */
async function setFaults({ faulty, other }: Task, { order, everywhere }: Row): Promise<void> {
  for (const url of [faulty, other]) {
    await fetch(`${url}/faults?`, { method: "DELETE" });
    if (order === null || (url === other && !everywhere)) continue;
    const answer = await fetch(`${url}/faults`, { method: "POST", body: JSON.stringify(order) });
    if (!answer.ok) throw new Error(await answer.text());
  }
}

async function main(task: Task): Promise<void> {
  let cases = 0;
  let wrong = 0;
  for (const row of task.rows) {
    const columns = Object.keys(row.outcomes);
    const runs = columns.map((column) => async () => {
      const outcome = await ended(task, row, column);
      cases++;
      if (row.outcomes[column].split("|").includes(outcome)) return;
      wrong++;
      console.log(JSON.stringify({ order: row.order, everywhere: row.everywhere, column, expected: row.outcomes[column], outcome }));
    });
    if (SECOND.has(row.order?.kind ?? "")) {
      for (const run of runs) {
        await setFaults(task, row); // the fault remembers earlier requests
        await run();
      }
    } else {
      await setFaults(task, row);
      await Promise.all(runs.map((run) => run()));
    }
  }
  console.log(JSON.stringify({ cases, wrong }));
}

const pieces: Buffer[] = [];
for await (const piece of process.stdin) pieces.push(piece as Buffer);
await main(JSON.parse(Buffer.concat(pieces).toString()) as Task);
