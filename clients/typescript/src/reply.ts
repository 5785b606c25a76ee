/** What the caller gets: a pool's answer, or an error made here in OpenAI's own shape, which says
 * `x-should-retry: false`, so that no SDK multiplies the attempts. */

import { NO_ERROR, type ProviderError, type Reading } from "./answers.ts";
import { type Blame, type Reason, type ResultClass, type Route, type Shed } from "./outcome.ts";
import type { Attempts, Why } from "./retry-rule.ts";
import type { TokenCounts } from "./whole.ts";

const STATUS_OF_REFUSAL: Partial<Record<Reason, number>> = { shed: 429, throttled: 429, bad_option: 400 };
const STATUS_WITHOUT_ANSWER: Partial<Record<ResultClass, number>> = { timeout: 504, client_error: 400 };
const KIND: Record<number, string> = { 429: "rate_limit_error", 400: "invalid_request_error" };
const ABOUT_THE_REQUEST: readonly Blame[] = ["caller", "request"];
const WITHOUT_BODY = new Set([204, 205, 304]);

/** An answer of a pool, or what is made here in its place. */
export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | string | null;
}

/** How far an attempt came. `reply` is undefined when there was no answer at all; `text` then says why. */
export interface Opening {
  readonly reading: Reading;
  readonly text: string;
  readonly reply?: Reply | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly usage?: TokenCounts | undefined;
  readonly error?: ProviderError;
  readonly answerId?: string;
  readonly isRelayed?: boolean; // how the answer ends is reported later
  readonly wasToken?: boolean; // the secret that was sent came from a function
}

/** One attempt that failed, and where it went. */
export interface End {
  readonly opening: Opening;
  readonly route: Route;
}

/** The answer as `fetch` gives it. */
export function responseOf({ status, headers, body }: Reply): Response {
  return new Response(WITHOUT_BODY.has(status) ? null : body, { status, headers });
}

/** A request that was not sent: 429 when the table sheds it or every pool is at its limit, else 503. */
export function refusal({ reason, text, why, retryAfterMs }: Shed): Reply {
  const whole = why.length > 0 ? `${text}: ${why.join("; ")}` : text;
  const reply = failure(STATUS_OF_REFUSAL[reason] ?? 503, whole, `tieline_${reason}`);
  reply.headers.set("x-tieline-reason", reason);
  if (retryAfterMs !== undefined) {
    reply.headers.set("retry-after-ms", String(retryAfterMs));
    reply.headers.set("retry-after", String(Math.ceil(retryAfterMs / 1_000)));
  }
  return reply;
}

/** An error made here. */
export function failure(status: number, message: string, code: string): Reply {
  const type = KIND[status] ?? "server_error";
  const headers = new Headers({ "content-type": "application/json", "x-should-retry": "false" });
  return { status, headers, body: JSON.stringify({ error: { message, type, param: null, code } }) };
}

/** The reply with where it came from. */
export function stamped(reply: Reply, { target, reason }: Route, attempts: Attempts, why: Reason = reason): Reply {
  reply.headers.set("x-tieline-pool", target.pool);
  reply.headers.set("x-tieline-generation", target.generation);
  reply.headers.set("x-tieline-attempts", String(attempts.count));
  reply.headers.set("x-tieline-reason", why);
  return reply;
}

/** The failure that says most about the request: a provider's own status and words if any has answered. Where
 * none has and no pool is left, an error that names why each is out. */
export function finalFailure(ends: readonly End[], attempts: Attempts, why: Why, shed: Shed | undefined): Reply {
  const { opening, route } = mostTelling(ends, shed !== undefined);
  const endings = [...attempts.endings.values()].join("; ");
  let { reply } = opening;
  let { reason } = route;
  if (shed !== undefined && reply === undefined) {
    reply = refusal(shed);
    reason = shed.reason;
  } else if (reply === undefined) {
    const text = `${route.target.pool}: ${opening.text} (attempt ${attempts.count}, no other: ${why}; ${endings})`;
    const { result } = opening.reading;
    reply = failure(STATUS_WITHOUT_ANSWER[result] ?? 503, text, `tieline_${result}`);
  }
  reply.headers.set("x-should-retry", "false");
  reply.headers.set("x-tieline-gave-up", why);
  reply.headers.set("x-tieline-tried", endings);
  return stamped(reply, route, attempts, reason);
}

function mostTelling(ends: readonly End[], prefersAnswers: boolean): End {
  const answered = ends.filter(({ opening }) => opening.reply !== undefined);
  for (const blame of ABOUT_THE_REQUEST) {
    const end = answered.find(({ opening }) => opening.reading.blame === blame);
    if (end !== undefined) return end;
  }
  return answered.length > 0 && prefersAnswers ? answered[answered.length - 1] : ends[ends.length - 1];
}

/** What is wrong with the configuration, if that is what an attempt has met; else "". */
export function configurationFault({ target }: Route, { reading, reply, text, error = NO_ERROR }: Opening): string {
  if (reading.blame === "model") return `the model ${target.name} is unknown there`;
  if (reading.blame !== "account") return "";
  if (reply === undefined) return text;
  const named = error.names.length > 0 ? ` (${error.names[0]})` : "";
  return target.credential === "" ? "" : `the credential ${target.credential} was refused${named}`;
}
