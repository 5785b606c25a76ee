/** A caller's request as `fetch` takes it: what routing needs of it, and what of it reaches a provider. */

import { isObject, parsed } from "./answers.ts";

const LIMIT_FIELDS = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
const SDK_TIMEOUT_S = 600; // what the openai SDK declares where its user has set none
const DEADLINE_MAX_S = 86_400;
const STATEFUL = new Set(
  ("assistants batches containers conversations evals files fine_tuning responses threads uploads vector_stores " +
    "videos").split(" "),
);
const WORDS = new Set([
  ...STATEFUL,
  ...("alpha cancel checkpoints compact complete content events file_batches graders input_items input_tokens items " +
    "jobs messages output_items parts pause permissions remix resume run runs search steps submit_tool_outputs " +
    "validate").split(" "),
]);
// Made anew by each connection, or the caller's own and none of a provider's business.
const DROPPED = new Set(
  ("connection content-length keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade " +
    "api-key authorization cookie expect host x-stainless-timeout").split(" "),
);
const DROPPED_FROM_ANSWER = new Set(
  ("connection content-encoding content-length keep-alive set-cookie trailer transfer-encoding upgrade " +
    "x-should-retry").split(" "),
);

/** A request, read once for all its attempts. `refers`: ids of what a provider holds. `keeps`: the provider
 * will hold what it answers. `deadlineMs`: what the caller has declared; undefined if nothing. */
export interface Call {
  readonly method: string;
  readonly path: string; // what follows /v1, with its query
  readonly headers: Headers;
  readonly signal: AbortSignal | undefined;
  readonly model: string;
  readonly isStream: boolean;
  readonly outputTokensMax: number | undefined;
  readonly answers: number;
  readonly bodyBytes: number;
  readonly refers: readonly string[];
  readonly keeps: boolean;
  readonly session: string | undefined;
  readonly origin: string | undefined;
  readonly deadlineMs: number | undefined;
  readonly fault: string; // an option that can't be; "" for none
  readonly bodyFor: (name: string) => BodyInit | undefined; // under the pool's own name for the model
}

type ReadBody = Pick<
  Call, "model" | "isStream" | "outputTokensMax" | "answers" | "bodyBytes" | "refers" | "keeps" | "bodyFor"
>;

/** Reads what was given to `fetch`. `baseURL`: in front of the path. */
export async function readCall(input: RequestInfo | URL, init: RequestInit | undefined, baseURL: string): Promise<Call> {
  const request = input instanceof Request ? input : undefined;
  const url = String(request?.url ?? input);
  const path = url.startsWith(baseURL) ? url.slice(baseURL.length) : pathOf(url);
  const headers = new Headers(init?.headers ?? request?.headers);
  const method = (init?.method ?? request?.method ?? "GET").toUpperCase();
  const body = await readBody(input, init, headers, path);
  const deadline = headers.get("x-tieline-deadline");
  const isSane = deadline === null || (Number(deadline) > 0 && Number(deadline) < DEADLINE_MAX_S);
  return {
    method,
    path,
    headers,
    signal: init?.signal ?? request?.signal ?? undefined,
    ...body,
    session: headers.get("x-tieline-session") ?? undefined,
    origin: headers.get("x-tieline-origin") ?? undefined,
    deadlineMs: isSane ? declaredMs(deadline, headers.get("x-stainless-timeout")) : undefined,
    fault: isSane ? "" : `header x-tieline-deadline: ${deadline}: expected seconds, more than 0 and less than a day`,
  };
}

/** The caller's headers as they go to a provider. */
export function headersFor(call: Call, auth: readonly [string, string] | undefined, requestId: string): Headers {
  const headers = new Headers();
  for (const [name, value] of call.headers) {
    if (!DROPPED.has(name) && !name.startsWith("x-tieline-")) headers.set(name, value);
  }
  if (call.isStream) headers.set("accept-encoding", "identity"); // a stream is read here
  if (!headers.has("x-request-id")) headers.set("x-request-id", requestId);
  if (auth !== undefined) headers.set(...auth);
  return headers;
}

/** A pool's headers as they go to the caller: `fetch` has undone the body's encoding. */
export function headersBack(headers: Headers): Headers {
  const kept = [...headers].filter(([name]) => !DROPPED_FROM_ANSWER.has(name));
  return new Headers(kept);
}

/** Whether what is made is dear and takes long: images, audio, video. */
export function isCostly({ method, path }: Call): boolean {
  return method === "POST" && /^\/(images|audio|videos)/.test(path);
}

function pathOf(url: string): string {
  const { pathname, search } = new URL(url);
  return pathname.replace(/^\/v1(?=\/)/, "") + search;
}

function declaredMs(deadline: string | null, sdkTimeout: string | null): number | undefined {
  if (deadline !== null) return Math.floor(Number(deadline) * 1_000);
  const seconds = Number(sdkTimeout ?? SDK_TIMEOUT_S);
  return seconds > 0 && seconds !== SDK_TIMEOUT_S ? seconds * 1_000 : undefined;
}

async function readBody(
  input: RequestInfo | URL, init: RequestInit | undefined, headers: Headers, path: string,
): Promise<ReadBody> {
  const place = readPath(path);
  if (init?.body instanceof FormData) return formBody(init.body, headers, place);
  const type = headers.get("content-type") ?? "";
  const source = init?.body ?? (input instanceof Request ? input.body : null);
  if (source === null || source === undefined) return rawBody(undefined, 0, place);
  const whole = new Response(source, { headers: type === "" ? {} : { "content-type": type } });
  if (type.toLowerCase().startsWith("multipart/form-data")) return formBody(await whole.formData(), headers, place);
  const bytes = new Uint8Array(await whole.arrayBuffer());
  const fields = bytes[0] === 0x7b || type.includes("json") ? parsed(new TextDecoder().decode(bytes)) : undefined;
  return isObject(fields) ? jsonBody(bytes, fields, place) : rawBody(bytes, bytes.length, place);
}

interface Place {
  readonly ids: readonly string[];
  readonly isStateful: boolean;
}

/** The ids in a path. They are only looked for where there may be some. */
function readPath(path: string): Place {
  const parts = path.split("?")[0].split("/").filter((part) => part !== "");
  const isStateful = STATEFUL.has(parts[0] ?? "");
  return { ids: isStateful ? parts.filter((part) => !WORDS.has(part)) : [], isStateful };
}

function jsonBody(bytes: Uint8Array<ArrayBuffer>, fields: Record<string, unknown>, place: Place): ReadBody {
  const model = typeof fields.model === "string" ? fields.model : "";
  const limits = LIMIT_FIELDS.map((name) => fields[name]).filter(isCount);
  const conversation = isObject(fields.conversation) ? fields.conversation.id : fields.conversation;
  const held = [fields.previous_response_id, conversation, fields.input_file_id].filter((id) => typeof id === "string");
  return {
    model,
    isStream: fields.stream === true,
    outputTokensMax: limits[0],
    answers: answersIn(fields),
    bodyBytes: bytes.length,
    refers: [...place.ids, ...held],
    keeps: place.isStateful || fields.store === true,
    bodyFor: (name) => (name === "" || name === model ? bytes : JSON.stringify({ ...fields, model: name })),
  };
}

function formBody(form: FormData, headers: Headers, place: Place): ReadBody {
  headers.delete("content-type"); // each attempt draws a boundary of its own
  const texts = [...form].filter(([, value]) => typeof value === "string") as [string, string][];
  const field = (name: string) => texts.find(([each]) => each === name)?.[1] ?? "";
  const model = field("model");
  const bodyFor = (name: string): FormData => {
    if (name === "" || name === model) return form;
    const other = new FormData();
    for (const [key, value] of form) other.append(key, key === "model" ? name : value);
    return other;
  };
  return {
    model,
    isStream: field("stream").toLowerCase() === "true",
    outputTokensMax: undefined,
    answers: /^[1-9]\d{0,2}$/.test(field("n")) ? Number(field("n")) : 1,
    bodyBytes: texts.reduce((sum, [, value]) => sum + value.length, 0),
    refers: place.ids,
    keeps: place.isStateful,
    bodyFor,
  };
}

function rawBody(bytes: Uint8Array<ArrayBuffer> | undefined, bodyBytes: number, place: Place): ReadBody {
  const bodyFor = () => bytes;
  const nothing = { model: "", isStream: false, outputTokensMax: undefined, answers: 1 };
  return { ...nothing, bodyBytes, refers: place.ids, keeps: place.isStateful, bodyFor };
}

function isCount(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0;
}

/** `n` for each of the prompts; only completions take several. */
function answersIn({ n, prompt }: Record<string, unknown>): number {
  const isList = Array.isArray(prompt) && prompt.length > 0 && typeof prompt[0] !== "number";
  return (isList ? prompt.length : 1) * (isCount(n) ? n : 1);
}
