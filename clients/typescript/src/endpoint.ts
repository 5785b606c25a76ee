/** Requests to `tieline web`: with the caller's token, within a time, and errors that say when to come again. */

const ANSWER_WITHIN_MS = 10_000;

/** The endpoint could not be asked, or refused. `isFinal`: asking again would change nothing. */
export class EndpointError extends Error {
  override readonly name = "EndpointError";
  readonly isFinal: boolean;
  readonly retryAfterS: number;

  constructor(text: string, isFinal = false, retryAfterS = 0) {
    super(text);
    this.isFinal = isFinal;
    this.retryAfterS = retryAfterS;
  }
}

export class Endpoint {
  readonly #url: string;
  readonly #token: string | (() => string) | undefined;
  readonly #fetch: typeof fetch;

  constructor(url: string, token: string | (() => string) | undefined, fetchImpl: typeof fetch) {
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
    this.#fetch = fetchImpl;
  }

  /** The answer to a request; its head comes in time, or an `EndpointError` is thrown. */
  async ask(path: string, init: RequestInit, signal: AbortSignal): Promise<Response> {
    const headers = new Headers(init.headers);
    const token = typeof this.#token === "function" ? this.#token() : this.#token;
    if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Error("no answer in time")), ANSWER_WITHIN_MS);
    try {
      const signals = AbortSignal.any([signal, late.signal]);
      const answer = await this.#fetch(this.#url + path, { ...init, headers, redirect: "manual", signal: signals });
      if (answer.status >= 300 && answer.status !== 304) throw await refusalOf(answer, path);
      return answer;
    } catch (error) {
      if (error instanceof EndpointError) throw error;
      const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : "";
      throw new EndpointError(`${this.#url}${path}: ${error instanceof Error ? error.message : error}${cause}`);
    } finally {
      clearTimeout(timer);
    }
  }
}

async function refusalOf(answer: Response, path: string): Promise<EndpointError> {
  const text = (await answer.text()).trim().slice(0, 300);
  const isFinal = answer.status === 400 || answer.status === 413;
  const retryAfterS = Number(answer.headers.get("retry-after") ?? 0);
  return new EndpointError(`${path}: ${answer.status} ${text}`, isFinal, retryAfterS > 0 ? retryAfterS : 0);
}
