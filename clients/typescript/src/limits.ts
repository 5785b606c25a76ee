/** How long one attempt may take before it is given up. docs/write-a-client.md has the rules. */

import { roundHalfEven } from "./numbers.ts";
import { HEALTH_FAILURES, type ResultClass } from "./outcome.ts";
import type { ModelOffer, Settings } from "./table.ts";

const WHOLE_ANSWER_MS_PER_TOKEN = 50;
const WHOLE_ANSWER_TOKENS_DEFAULT = 1_000;
export const COSTLY_AFTER_MS = 10_000; // a whole answer that has taken so long is not thrown away lightly
const UNSENT_MAX_MS = 1_000; // a connection that fails so soon has carried no request
const USUAL_FACTOR = 3;

/** `silenceMs`: without a byte, before a stream's first output. `wholeMs`: until that output, or the end of a
 * whole answer. `ownMs`: what `silenceMs` would be if the caller had declared nothing. */
export interface Waiting {
  readonly silenceMs: number;
  readonly wholeMs: number;
  readonly ownMs: number;
}

/** What is known of an attempt. `usualMs`: what such answers take there, 0 if unknown. `leftMs`: until the
 * deadline. `partMs`: this attempt's share of a declared time-out. */
export interface Attempted {
  readonly settings: Settings;
  readonly offer: ModelOffer | undefined;
  readonly usualMs: number;
  readonly leftMs: number;
  readonly partMs: number | undefined;
}

/** For the first output of a stream. */
export function waitingForStream({ settings, offer, usualMs, leftMs, partMs }: Attempted): Waiting {
  const statedMs = offer?.firstTokenTimeoutMs || settings.firstTokenTimeoutMs;
  const ownMs = Math.max(statedMs, roundHalfEven(USUAL_FACTOR * usualMs));
  if (partMs === undefined) return { silenceMs: Math.min(ownMs, leftMs), wholeMs: leftMs, ownMs };
  const silenceMs = partMs >= leftMs ? leftMs : Math.min(ownMs, partMs);
  return { silenceMs, wholeMs: partMs, ownMs };
}

/** For a whole answer. `isCostly`: it has all the time until the deadline, unless its offer says otherwise. */
export function waitingForWhole(
  attempted: Attempted, outputTokensMax: number | undefined, isCostly: boolean,
): Waiting {
  const { settings, offer, usualMs, leftMs } = attempted;
  let partMs = attempted.partMs;
  let ownMs = offer?.wholeAnswerTimeoutMs ?? 0;
  if (isCostly && partMs === undefined && ownMs === 0) partMs = leftMs;
  if (ownMs === 0) {
    const tokens = outputTokensMax || WHOLE_ANSWER_TOKENS_DEFAULT;
    ownMs = (offer?.firstTokenTimeoutMs || settings.firstTokenTimeoutMs) + WHOLE_ANSWER_MS_PER_TOKEN * tokens;
  }
  ownMs = Math.max(ownMs, roundHalfEven(USUAL_FACTOR * usualMs));
  const wholeMs = partMs === undefined ? Math.min(ownMs, leftMs) : partMs > COSTLY_AFTER_MS ? leftMs : partMs;
  return { silenceMs: wholeMs, wholeMs, ownMs };
}

/** For the request that finds out whether a pool is back. `latelyMs`: what took long there, 0 if unknown. */
export function waitingForTrial(waiting: Waiting, settings: Settings, latelyMs: number): Waiting {
  if (latelyMs === 0) return waiting;
  const limitMs = Math.max(settings.firstTokenTimeoutMs, roundHalfEven(USUAL_FACTOR * latelyMs));
  const { silenceMs, wholeMs, ownMs } = waiting;
  return { silenceMs: Math.min(silenceMs, limitMs), wholeMs: Math.min(wholeMs, limitMs), ownMs };
}

/** How long a stream may be silent after its first output. */
export function idleMs(settings: Settings, offer: ModelOffer | undefined): number {
  return offer?.idleTimeoutMs || settings.idleTimeoutMs;
}

/** How often one request may be sent again that may be under way, and billed: once, and only when the pool
 * shows that it has ended there. */
export class Resending {
  #count = 0;

  may(result: ResultClass, waitedMs: number, wasEnded: boolean): boolean {
    if (!HEALTH_FAILURES.has(result)) return true;
    if (result === "timeout" && !wasEnded) return false;
    if (result !== "connect" || waitedMs > UNSENT_MAX_MS) this.#count++;
    return this.#count <= 1;
  }
}

/** Milliseconds to wait by `retry-after-ms`, else by `retry-after` in seconds or as a date; at most 300 s. */
export function retryAfterMs(headers: { get(name: string): string | null }, nowEpochMs: number): number | undefined {
  let waitMs = numberIn(headers.get("retry-after-ms"));
  const text = headers.get("retry-after");
  if (waitMs === undefined && text !== null) {
    const seconds = numberIn(text);
    const date = Date.parse(text);
    if (seconds !== undefined) waitMs = seconds * 1_000;
    else if (/\d{4}/.test(text) && !Number.isNaN(date)) waitMs = date - nowEpochMs;
  }
  return waitMs === undefined ? undefined : Math.floor(Math.min(Math.max(waitMs, 0), 300_000));
}

function numberIn(text: string | null): number | undefined {
  if (text === null || text.trim() === "") return undefined;
  const value = Number(text);
  return Number.isNaN(value) ? undefined : value;
}
