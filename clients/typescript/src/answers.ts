/**
 * What a provider's answer means: its HTTP status, the error in its body, or an error in a stream. The tables
 * are those of the Python client (client/README.md prints them); the conformance vectors hold both together.
 */

import { type Blame, HEALTH_FAILURES, type ResultClass } from "./outcome.ts";

/** `elsewhere`: another pool may answer differently. `again`: the same pool may, in a moment. */
export interface Reading {
  readonly result: ResultClass;
  readonly blame: Blame;
  readonly elsewhere: boolean;
  readonly again: boolean;
  readonly topic?: "context" | "parameter" | "billing";
}

/** The error in an answer's body. `names`: its code, type and status in lower case. */
export interface ProviderError {
  readonly names: readonly string[];
  readonly message: string;
  readonly param: string;
}

export const NO_ERROR: ProviderError = { names: [], message: "", param: "" };

function reading(result: ResultClass, blame: Blame, may = "", topic?: Reading["topic"]): Reading {
  const flags = { elsewhere: may.includes("elsewhere"), again: may.includes("again") };
  return topic === undefined ? { result, blame, ...flags } : { result, blame, ...flags, topic };
}

export const GOOD = reading("ok", "nobody");
export const UNHEALTHY = reading("server_error", "pool", "elsewhere again");
export const EMPTY_ANSWER = reading("client_error", "moment", "elsewhere again");
const CALLERS_OWN = reading("client_error", "caller");
const TIMED_OUT = reading("timeout", "pool", "elsewhere again");
const THROTTLED = reading("throttled", "pool", "elsewhere again");
const SECRET_REFUSED = reading("auth", "account", "elsewhere again");
const ACCOUNT_EMPTY = reading("auth", "account", "elsewhere");
const FORBIDDEN = reading("auth", "request", "elsewhere");
const NOT_FOUND = reading("not_found", "request", "elsewhere");
const NOT_OFFERED = reading("client_error", "request", "elsewhere");
const NO_MODEL = reading("not_found", "model", "elsewhere");
const TOO_LONG = reading("client_error", "caller", "elsewhere", "context");
const UNSUPPORTED = reading("client_error", "caller", "elsewhere", "parameter");
const QUOTA = reading("throttled", "pool", "elsewhere again", "billing");

const STATUSES: readonly (readonly [readonly number[], Reading])[] = [
  [[400, 413, 422], CALLERS_OWN],
  [[401], SECRET_REFUSED],
  [[402], ACCOUNT_EMPTY],
  [[403, 451], FORBIDDEN],
  [[404], NOT_FOUND],
  [[405, 501], NOT_OFFERED],
  [[408], TIMED_OUT],
  [[409, 423, 425], EMPTY_ANSWER],
  [[410], NO_MODEL],
  [[407, 424], UNHEALTHY],
  [[429], THROTTLED],
];
const BY_STATUS = new Map(STATUSES.flatMap(([statuses, row]) => statuses.map((status) => [status, row] as const)));
// A redirect is a broken endpoint: it is never followed, because the secret would go with it.
const HUNDREDS = new Map([[2, GOOD], [3, UNHEALTHY], [4, CALLERS_OWN], [5, UNHEALTHY]]);

interface ErrorRow {
  readonly names: ReadonlySet<string>;
  readonly phrases: RegExp | undefined;
  readonly statuses: ReadonlySet<number>;
  readonly reading: Reading;
}

function row(names: string, phrases: RegExp | undefined, statuses: number[], reads: Reading): ErrorRow {
  return { names: new Set(names.split(" ")), phrases, statuses: new Set(statuses), reading: reads };
}

const ERRORS: readonly ErrorRow[] = [
  row(
    "content_filter content_policy_violation responsibleaipolicyviolation moderation_blocked " +
      "content_management_policy data_inspection_failed",
    undefined, [400, 422], CALLERS_OWN,
  ),
  row(
    "context_length_exceeded context_window_exceeded string_above_max_length prompt_too_long",
    /maximum context length|context window|prompt is too long|too many (input )?tokens|input is too long|exceeds? the (model'?s )?context/i,
    [400, 413, 422], TOO_LONG,
  ),
  row(
    "unsupported_parameter unsupported_value unknown_parameter unrecognized_parameter",
    /^unrecognized request argument|unsupported parameter|unknown parameter/i, [400, 422], UNSUPPORTED,
  ),
  row("previous_response_not_found", undefined, [400], NOT_OFFERED),
  row(
    "model_not_found deploymentnotfound deployment_not_found modelnotfound model_not_available unknown_model " +
      "model_not_supported modelnotsupported model_deprecated",
    /\bmodel\b.{0,200}\b(does not exist|was not found|not found|is not found)|deployment for this resource does not exist|does not have access to model|deployment .{0,100} (does not exist|not found)/i,
    [400, 403, 404], NO_MODEL,
  ),
  row(
    "insufficient_quota billing_hard_limit_reached billing_not_active billing_limit_reached " +
      "insufficient_balance insufficient_credits exceeded_current_quota_error quota_exceeded access_terminated",
    undefined, [400, 403, 429], QUOTA,
  ),
];
// The HTTP status that the names of errors stand for: OpenAI's types, Anthropic's, and gRPC's codes.
const STATUS_OF_NAME = new Map<string, number>(
  Object.entries({
    400: "invalid_request_error invalid_request invalid_prompt invalid_argument failed_precondition out_of_range " +
      "invalid_image image_content_policy_violation",
    413: "request_too_large",
    401: "authentication_error invalid_api_key invalid_token unauthenticated",
    402: "billing_error",
    403: "permission_error permission_denied",
    404: "not_found_error not_found",
    409: "aborted conflict",
    429: "rate_limit_error rate_limit_exceeded too_many_requests tokens_exceeded throttled throttling " +
      "resource_exhausted requests tokens",
    500: "server_error api_error internal internal_error internal_server_error",
    501: "unimplemented",
    503: "unavailable service_unavailable engine_overloaded",
    529: "overloaded_error",
    504: "deadline_exceeded timeout",
  }).flatMap(([status, names]) => names.split(" ").map((name) => [name, Number(status)] as const)),
);
const NAME_FIELDS = ["code", "type", "status", "reason"];
const UNREADABLE_STATUS = 500;

/** The error that a decoded body, an event, or the value of an `error` field holds. */
export function errorIn(value: unknown): ProviderError {
  if (Array.isArray(value)) return value.length === 1 ? errorIn(value[0]) : NO_ERROR;
  if (typeof value === "string") return { ...NO_ERROR, message: value };
  if (!isObject(value)) return NO_ERROR;
  for (const field of ["error", "detail"]) {
    const inner = value[field];
    if (!isFilled(inner)) continue;
    const nested = errorIn(inner);
    return nested.names.length > 0 ? nested : { ...nested, names: namesOf(value) };
  }
  const names = [...namesOf(value), ...(isObject(value.innererror) ? namesOf(value.innererror) : [])];
  return { names, message: textOf(value.message), param: textOf(value.param) };
}

/** As `errorIn`, for the text of an answer. */
export function errorInBody(body: string): ProviderError {
  const value = parsed(body);
  return value === undefined ? NO_ERROR : errorIn(value);
}

/** What an answer with this HTTP status and this error means. `namesModel`: the request named a model and
 * nothing else that could be missing. `namesDeployment`: the URL names the model's deployment as well. */
export function readingOfStatus(
  status: number, error: ProviderError, namesModel: boolean, namesDeployment = false,
): Reading {
  const hundred = Math.floor(status / 100);
  if (hundred === 2) return GOOD;
  const reads = named(error, status) ?? ofStatus(status);
  if (reads.blame === "model" && !namesModel) return NOT_FOUND;
  return status === 404 && reads.blame === "request" && namesDeployment ? NO_MODEL : reads;
}

/** What an error means that came without a status of its own. */
export function readingOfError(error: ProviderError, namesModel = true): Reading {
  const reads = named(error, undefined) ?? ofStatus(statusOfError(error));
  return reads.blame === "model" && !namesModel ? NOT_FOUND : reads;
}

/** The HTTP status that an error stands for which came without one. */
export function statusOfError(error: ProviderError): number {
  const statuses = error.names.map(statusOfName);
  const reads = named(error, undefined);
  if (statuses.includes(429) || reads?.result === "throttled") return 429;
  if (reads !== undefined) return reads.blame === "model" ? 404 : 400;
  return statuses.find((status) => status > 0) ?? UNREADABLE_STATUS;
}

/** What a class means where there is no answer to read. */
export function readingOfResult(result: ResultClass): Reading {
  if (HEALTH_FAILURES.has(result)) return reading(result, "pool", "elsewhere again");
  const rows: Partial<Record<ResultClass, Reading>> = {
    throttled: THROTTLED, auth: ACCOUNT_EMPTY, not_found: NO_MODEL, client_error: CALLERS_OWN,
  };
  return rows[result] ?? GOOD;
}

/** The reading with the provider's own word on another try (`x-should-retry`). */
export function asTold(reads: Reading, shouldRetry: string | null): Reading {
  if (shouldRetry === "true") return { ...reads, elsewhere: true, again: true };
  return shouldRetry === "false" && reads.again ? { ...reads, again: false } : reads;
}

/** The type that a Content-Type header names, in lower case and without parameters. */
export function mediaType(contentType: string | null): string {
  return (contentType ?? "").split(";")[0].trim().toLowerCase();
}

/** The value of a JSON text; undefined for what is no JSON. */
export function parsed(json: string): unknown {
  try {
    return JSON.parse(json) as unknown;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isFilled(value: unknown): boolean {
  if (isObject(value)) return Object.keys(value).length > 0;
  return (Array.isArray(value) || typeof value === "string") && value.length > 0;
}

function textOf(value: unknown): string {
  return value ? String(value) : "";
}

function namesOf(error: Record<string, unknown>): string[] {
  return NAME_FIELDS.map((field) => error[field])
    .filter((value) => typeof value === "string" || Number.isInteger(value))
    .filter((value) => value !== "" && value !== "error")
    .map((value) => String(value).toLowerCase());
}

/** What the error's own names or words say under this status. */
function named(error: ProviderError, status: number | undefined): Reading | undefined {
  if (error.names.length === 0 && error.message === "") return undefined;
  const rows = ERRORS.filter(({ statuses }) => status === undefined || statuses.has(status));
  const byName = rows.find(({ names }) => error.names.some((name) => names.has(name)));
  return (byName ?? rows.find(({ phrases }) => phrases?.test(error.message)))?.reading;
}

function ofStatus(status: number): Reading {
  return BY_STATUS.get(status) ?? HUNDREDS.get(Math.floor(status / 100)) ?? UNHEALTHY;
}

function statusOfName(name: string): number {
  if (/^\d+$/.test(name) && Number(name) >= 400 && Number(name) <= 599) return Number(name);
  return STATUS_OF_NAME.get(name) ?? 0;
}
