/** Whether the body of an answer with a good status is an answer at all. A gateway in front of a pool may send
 * 200 with an empty body, a page of HTML, half a JSON document, or nothing but an error object. */

import {
  EMPTY_ANSWER, GOOD, NO_ERROR, type ProviderError, type Reading, UNHEALTHY, errorIn, isObject, parsed, readingOfError,
} from "./answers.ts";

const JSON_APIS = new Set(
  ("assistants batches chat completions conversations embeddings fine_tuning images models moderations responses " +
    "threads uploads vector_stores").split(" "),
);
const OFTEN_JSON_APIS = new Set(["audio", "files"]);
const OUTPUT_FIELDS = ["content", "refusal", "tool_calls", "function_call", "audio", "reasoning_content"];
const UNTYPED = new Set(["", "text/plain", "application/octet-stream"]);
export const EVENT_STREAM = "text/event-stream";
const HTML = "text/html";
const JSON_TYPE = "application/json";

/** Tokens of the prompt and of the answer. */
export type TokenCounts = readonly [prompt: number, answer: number];

/** What a body is. `text` says what is wrong with one that is no answer; `error` is the one that it holds. */
export interface Judged {
  readonly reading: Reading;
  readonly text: string;
  readonly error: ProviderError;
  readonly isOwnStatus: boolean; // the answer's own status is kept: it says itself that it failed
  readonly usage: TokenCounts | undefined;
}

/** Whether the body of this answer can only be JSON. `path`: what follows `/v1`. */
export function mustBeJson(method: string, path: string, status: number, kind: string): boolean {
  if (method === "HEAD" || status === 204 || status === 205 || kind === EVENT_STREAM) return false;
  const api = apiOf(path);
  return JSON_APIS.has(api) || (OFTEN_JSON_APIS.has(api) && (kind === JSON_TYPE || kind === HTML));
}

/** Whether an answer without any body is none, whatever its type. */
export function mustHaveBody(method: string, path: string, status: number): boolean {
  const api = apiOf(path);
  return method === "POST" && status !== 204 && status !== 205 && (JSON_APIS.has(api) || OFTEN_JSON_APIS.has(api));
}

/** Whether the body is read as a stream. SDKs read what they asked for as one, whatever type it has. */
export function comesAsStream(kind: string, asksStream: boolean, isJson: boolean): boolean {
  return kind === EVENT_STREAM || (asksStream && isJson && UNTYPED.has(kind));
}

function apiOf(path: string): string {
  const parts = path.split("?")[0].split("/").filter((part) => part !== "");
  return parts.length > 1 && parts[parts.length - 1] === "content" ? "" : (parts[0] ?? "");
}

/** Read the body of an answer that must be JSON. `isCreation`: the request made what the answer shows.
 * `retryEmpty`: an answer without any content is to be tried again. */
export function judge(body: string, isCreation: boolean, retryEmpty: boolean): Judged {
  if (body.trim() === "") return failed(UNHEALTHY, "the answer is empty");
  const value = parsed(body);
  if (value === undefined) return failed(UNHEALTHY, "the answer is no JSON, or breaks off");
  if (!isObject(value)) return judgeOther(value);
  const isFailed = isCreation && value.object === "response" && value.status === "failed";
  if (isFailed || isOnlyError(value)) {
    const error = errorIn(isFailed ? value.error : value);
    return { ...failed(readingOfError(error), error.message || "the answer is an error"), error, isOwnStatus: isFailed };
  }
  if (retryEmpty && isEmpty(value.choices)) {
    return { ...failed(EMPTY_ANSWER, "the answer has no content"), isOwnStatus: true };
  }
  return { ...failed(GOOD, ""), usage: tokenCounts(value.usage) };
}

/** The counts in the value of a `usage` field; undefined where it names none for the prompt. */
export function tokenCounts(usage: unknown): TokenCounts | undefined {
  if (!isObject(usage)) return undefined;
  const prompt = count(usage, ["prompt_tokens", "input_tokens"]);
  return prompt === undefined ? undefined : [prompt, count(usage, ["completion_tokens", "output_tokens"]) ?? 0];
}

function count(usage: Record<string, unknown>, names: readonly string[]): number | undefined {
  const name = names.find((each) => Number.isInteger(usage[each]) && (usage[each] as number) >= 0);
  return name === undefined ? undefined : (usage[name] as number);
}

function failed(reading: Reading, text: string): Judged {
  return { reading, text, error: NO_ERROR, isOwnStatus: false, usage: undefined };
}

/** JSON, but no object: a list of one error is Google's shape of an error. */
function judgeOther(value: unknown): Judged {
  if (Array.isArray(value) && value.length === 1 && isObject(value[0]) && value[0].error) {
    const error = errorIn(value);
    return { ...failed(readingOfError(error), error.message || "the answer is an error"), error };
  }
  return failed(GOOD, "");
}

function isOnlyError(answer: Record<string, unknown>): boolean {
  const hasChoices = answer.choices !== undefined;
  if (answer.object === "error" || (answer.type === "error" && !hasChoices)) return true;
  return Boolean(answer.error) && (answer.object ?? null) === null && !hasChoices;
}

function isEmpty(choices: unknown): boolean {
  return Array.isArray(choices) && !choices.some(saysSomething);
}

function saysSomething(choice: unknown): boolean {
  if (!isObject(choice)) return true;
  const message = isObject(choice.message) ? choice.message : {};
  return [choice.text, ...OUTPUT_FIELDS.map((field) => message[field])].some(isTruthy);
}

/** As Python takes it: empty lists and objects say nothing. */
export function isTruthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return isObject(value) ? Object.keys(value).length > 0 : Boolean(value);
}
