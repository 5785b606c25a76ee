/** One attempt at one pool: what is sent, what is read until it is known whether the answer is good, and how it
 * ended. Until the first output nothing has been handed on, so the request may still go to another pool. */

import {
  GOOD, NO_ERROR, UNHEALTHY, asTold, errorIn, errorInBody, isObject, mediaType, parsed, readingOfError,
  readingOfResult, readingOfStatus, statusOfError,
} from "./answers.ts";
import type { Credentials } from "./credentials.ts";
import { retryAfterMs } from "./limits.ts";
import type { Flight } from "./load.ts";
import type { Target } from "./outcome.ts";
import { type Destinations, MissingCredentialError, authFor, urlFor } from "./providers.ts";
import { type Opening, type Reply, failure } from "./reply.ts";
import { type Call, headersBack, headersFor } from "./request.ts";
import { StreamReader } from "./streams.ts";
import { EVENT_STREAM, comesAsStream, judge, mustBeJson, mustHaveBody, tokenCounts } from "./whole.ts";

const ERROR_BODY_MAX = 1024 * 1024;
const WHOLE_BODY_MAX = 64 * 1024 * 1024;

/** How long an attempt waits, and what ends it early: its own limit, its caller, or a pool that stalls. */
export class Patience {
  readonly signal: AbortSignal;
  wasCalledBack = false;
  hasRunOut = false;
  readonly #controller = new AbortController();
  readonly #caller: AbortSignal | undefined;
  readonly #onAbort: () => void;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(caller: AbortSignal | undefined) {
    this.signal = this.#controller.signal;
    this.#caller = caller;
    this.#onAbort = () => this.#controller.abort(caller?.reason);
    if (caller?.aborted) this.#onAbort();
    else caller?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** Whether the caller has gone away. */
  get isCallerGone(): boolean {
    return this.#caller?.aborted === true;
  }

  /** From now on it waits so long and no longer. */
  wait(limitMs: number): void {
    this.pause();
    this.#timer = setTimeout(() => {
      this.hasRunOut = true;
      this.#controller.abort(new Error("nothing came in time"));
    }, limitMs);
  }

  /** Nothing is waited for. */
  pause(): void {
    clearTimeout(this.#timer);
  }

  /** The pool stalls: the request goes elsewhere. */
  callBack(): void {
    this.wasCalledBack = true;
    this.#controller.abort(new Error("the pool stalls"));
  }

  /** It is over. */
  end(): void {
    this.pause();
    this.#caller?.removeEventListener("abort", this.#onAbort);
  }
}

/** What attempts need of their client. `lives`: a stream that has given no output yet has shown that it
 * lives. */
export interface AttemptTools {
  readonly fetch: typeof fetch;
  readonly credentials: Credentials;
  readonly destinations: Destinations;
  readonly retriesEmpty: boolean;
  readonly epochMs: () => number;
}

/** What is left of an answer after its first output. */
export interface Rest {
  readonly source: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
  readonly prefix: readonly Uint8Array<ArrayBuffer>[];
  readonly reader: StreamReader | undefined;
}

/** An opening whose answer may go on. */
export type Opened = Opening & { rest?: Rest };

/** Throws only when the caller has gone away. */
export async function attempt(
  tools: AttemptTools, call: Call, target: Target, requestId: string, patience: Patience, lives: () => void,
): Promise<Opened> {
  let isToken = false;
  try {
    const auth = await secretFor(tools, target);
    isToken = auth?.isToken ?? false;
    const url = urlFor(target.adapter, target.url, call.path, target.name);
    const answer = await tools.fetch(url, {
      method: call.method,
      headers: headersFor(call, auth?.header, requestId),
      body: call.bodyFor(target.name),
      redirect: "manual", // a redirect would take the secret with it
      signal: patience.signal,
    });
    const opened = await read(tools, call, target, answer, lives);
    return { ...opened, wasToken: isToken };
  } catch (error) {
    if (patience.isCallerGone) throw patience.signal.reason;
    if (error instanceof MissingCredentialError) return failed("auth", error.message, isToken);
    if (patience.wasCalledBack) return failed("timeout", "the pool stalls", isToken);
    if (patience.hasRunOut) return failed("timeout", "nothing came in time", isToken);
    return failed(error instanceof CutError ? "cut" : "connect", reasonOf(error), isToken);
  }
}

/** Reading the body of an answer failed. */
class CutError extends Error {}

function failed(result: "auth" | "timeout" | "connect" | "cut", text: string, wasToken = false): Opened {
  return { reading: readingOfResult(result), text, wasToken };
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : "";
  return `${error instanceof Error ? error.message : String(error)}${cause}`;
}

interface Auth {
  readonly header: [string, string];
  readonly isToken: boolean;
}

async function secretFor(tools: AttemptTools, target: Target): Promise<Auth | undefined> {
  if (target.credential === "") return undefined;
  tools.destinations.check(target.credential, target.adapter, target.url);
  const { secret, isToken } = await tools.credentials.get(target.credential);
  return { header: authFor(target.adapter, secret, isToken), isToken };
}

async function read(
  tools: AttemptTools, call: Call, target: Target, answer: Response, lives: () => void,
): Promise<Opened> {
  if (!answer.ok) return readRefusal(tools, call, target, answer);
  const kind = mediaType(answer.headers.get("content-type"));
  const reply: Reply = { status: answer.status, headers: headersBack(answer.headers), body: null };
  const isJson = mustBeJson(call.method, call.path, answer.status, kind);
  if (comesAsStream(kind, call.isStream, isJson)) return readUntilOutput(tools, call, answer, reply, kind, lives);
  const source = readerOf(answer);
  if (isJson || kind === "application/json") {
    const { bytes, isWhole } = await readAll(source, WHOLE_BODY_MAX);
    if (!isWhole) return { reading: GOOD, text: "", reply, rest: { source, prefix: [bytes], reader: undefined } };
    if (isJson) return judged(tools, call, { ...reply, body: bytes }, kind, textOf(bytes));
    return { reading: GOOD, text: "", reply: { ...reply, body: bytes }, ...namedIn(textOf(bytes)) };
  }
  if (!mustHaveBody(call.method, call.path, answer.status)) {
    return { reading: GOOD, text: "", reply, rest: { source, prefix: [], reader: undefined } };
  }
  const { value, done } = await next(source);
  if (done) return { reading: UNHEALTHY, text: "the answer is empty" };
  return { reading: GOOD, text: "", reply, rest: { source, prefix: [value], reader: undefined } };
}

/** A whole answer of an API whose answers are JSON, by what its body says. */
function judged(tools: AttemptTools, call: Call, reply: Reply, kind: string, body: string): Opened {
  if (kind === "text/html") return { reading: UNHEALTHY, text: "the answer is a page of HTML" };
  const { reading, text, error, isOwnStatus, usage } = judge(body, call.method === "POST", tools.retriesEmpty);
  if (reading.result === "ok") return { reading, text, reply, usage, ...namedIn(body) };
  if (error === NO_ERROR && !isOwnStatus) return { reading, text };
  const status = isOwnStatus ? reply.status : statusOfError(error);
  return { reading, text, error, reply: { ...reply, status } };
}

/** The answer's id, by which a later request may refer to it, and what it cost. */
function namedIn(body: string): Pick<Opening, "answerId" | "usage"> {
  const value = parsed(body);
  if (!isObject(value)) return {};
  return { answerId: typeof value.id === "string" ? value.id : "", usage: tokenCounts(value.usage) };
}

/** An answer with an error status: what it means, in the provider's own words. */
async function readRefusal(tools: AttemptTools, call: Call, target: Target, answer: Response): Promise<Opened> {
  const { bytes, isWhole } = await readAll(readerOf(answer), ERROR_BODY_MAX);
  const body = isWhole ? bytes : new Uint8Array();
  const error = errorInBody(textOf(body));
  const namesModel = call.model !== "" && call.refers.length === 0;
  const isNamedByUrl = namesModel && target.adapter === "azure_classic";
  const reading = readingOfStatus(answer.status, error, namesModel, isNamedByUrl);
  return {
    reading: asTold(reading, answer.headers.get("x-should-retry")),
    text: error.message,
    error,
    reply: { status: answer.status, headers: headersBack(answer.headers), body },
    retryAfterMs: retryAfterMs(answer.headers, tools.epochMs()),
  };
}

/** Up to the first output: until then the request may still change its pool. */
async function readUntilOutput(
  tools: AttemptTools, call: Call, answer: Response, reply: Reply, kind: string, lives: () => void,
): Promise<Opened> {
  const source = readerOf(answer);
  const reader = new StreamReader(call.path, call.answers);
  const prefix: Uint8Array<ArrayBuffer>[] = [];
  for (let piece = await next(source); !piece.done; piece = await next(source)) {
    prefix.push(piece.value);
    const phase = reader.feed(piece.value);
    if (phase === "output" || (reader.hasEnded && reader.error === undefined)) {
      return { reading: GOOD, text: "", reply, rest: { source, prefix, reader } };
    }
    if (reader.error !== undefined) {
      void source.cancel().catch(() => undefined);
      return errorEvent(reader);
    }
    lives();
  }
  reader.close(true); // the last event may lack the empty line after it
  if (reader.error !== undefined) return errorEvent(reader);
  if (reader.phase === "waiting" && kind !== EVENT_STREAM) {
    const bytes = joined(prefix);
    return judged(tools, call, { ...reply, body: bytes }, kind, textOf(bytes));
  }
  if (reader.phase === "waiting") return failed("cut", "the stream ended before any output");
  if (!reader.hasEnded) return failed("cut", "the stream ended without its last event");
  return { reading: GOOD, text: "", reply: { ...reply, body: joined(prefix) }, usage: reader.usage };
}

/** An error that came before anything was handed on: a failed attempt. */
function errorEvent(reader: StreamReader): Opened {
  const error = errorIn(reader.error);
  const reading = readingOfError(error);
  const text = error.message || "an error event before any output";
  return { reading, text, error, reply: failure(statusOfError(error), text, error.names[0] ?? reading.result) };
}

function readerOf(answer: Response): Rest["source"] {
  return (answer.body ?? new Blob([]).stream()).getReader();
}

async function next(source: Rest["source"]): Promise<ReadableStreamReadResult<Uint8Array<ArrayBuffer>>> {
  try {
    return await source.read();
  } catch (error) {
    throw new CutError(reasonOf(error));
  }
}

/** What has come of the body, and whether that is all: more than `bytesMax` are not waited for. */
async function readAll(
  source: Rest["source"], bytesMax: number,
): Promise<{ bytes: Uint8Array<ArrayBuffer>; isWhole: boolean }> {
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  for (let piece = await next(source); !piece.done; piece = await next(source)) {
    parts.push(piece.value);
    size += piece.value.length;
    if (size > bytesMax) return { bytes: joined(parts), isWhole: false };
  }
  return { bytes: joined(parts), isWhole: true };
}

function joined(parts: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** Which flight this is, so that it can be called back while it waits. */
export function callable(flight: Flight, patience: Patience): void {
  flight.callBack = () => patience.callBack();
}
