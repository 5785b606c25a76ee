/**
 * The route table from `tieline web` (docs/http-table.md). A stream of events says when to fetch; beside it a
 * poll with an ETag works also without the stream, and more often then. Only a table that is newer within its
 * lineage, complete and undamaged replaces the one in force.
 */

import { parsed, isObject } from "./answers.ts";
import { Backoff } from "./backoff.ts";
import { type Endpoint, EndpointError } from "./endpoint.ts";
import { type Generation, type Table, TableError, decodeTable, generationText, isNewer } from "./table.ts";
import { Bell, sleep } from "./waiting.ts";

const POLL_MIN_MS = 1_000;
const POLL_MAX_MS = 2_000;
const POLL_BESIDE_STREAM_MS = 15_000;
const JITTER_MAX_MS = 200; // after a hint of a table that is not urgent
const BACKOFF_FIRST_S = 0.05;
const BACKOFF_LONGEST_S = 2;
const STREAM_SILENT_MS = 7_000; // the endpoint repeats itself every 2 s
const UNCONFIRMED_MS = 5_000;
const ANSWER_MAX = 16 * 1024 * 1024;
const LINE_MAX = 16 * 1024;

/** What a source reports to. */
export interface Subscriber {
  /** The generation in force. */
  readonly held: Generation | undefined;
  /** A newer table, and the text that it was read from. */
  take(table: Table, text: string, isUrgent: boolean): Promise<void>;
  /** The overlay that the endpoint has now. */
  overlay(data: Uint8Array): Promise<void>;
  /** The endpoint has answered, and the table in force is its newest. */
  heard(): void;
  /** What is wrong with the source. */
  failed(error: string): void;
}

export class TableSource {
  readonly #endpoint: Endpoint;
  readonly #path: string;
  readonly #subscriber: Subscriber;
  #etag = "";
  #isStreaming = false;
  #isUrgent = false;
  #dueMs = 0;
  readonly #bell = new Bell();

  constructor(endpoint: Endpoint, workload: string, origins: readonly string[], subscriber: Subscriber) {
    this.#endpoint = endpoint;
    const query = new URLSearchParams(origins.map((origin) => ["origin", origin]));
    this.#path = `/v1/table/${encodeURIComponent(workload)}?${query.toString()}`;
    this.#subscriber = subscriber;
  }

  /** Listen and fetch until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#listen(signal), this.#poll(signal)]);
  }

  async #poll(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(BACKOFF_FIRST_S, BACKOFF_LONGEST_S);
    while (!signal.aborted) {
      this.#dueMs = performance.now() + (this.#isStreaming ? POLL_BESIDE_STREAM_MS : between(POLL_MIN_MS, POLL_MAX_MS));
      try {
        await this.#fetch(signal);
        backoff.reset();
      } catch (error) {
        if (signal.aborted) return;
        this.#subscriber.failed(error instanceof Error ? error.message : String(error));
        const retryAfterS = error instanceof EndpointError ? error.retryAfterS : POLL_MIN_MS / 1_000;
        await sleep(1_000 * backoff.nextS(retryAfterS), signal);
        continue;
      }
      await this.#untilDue(signal);
    }
  }

  async #fetch(signal: AbortSignal): Promise<void> {
    const isUrgent = this.#isUrgent;
    this.#isUrgent = false;
    const headers = new Headers({ accept: "application/json" });
    if (this.#etag !== "") headers.set("if-none-match", this.#etag);
    const answer = await this.#endpoint.ask(this.#path, { headers }, signal);
    if (answer.status === 200) {
      const text = await wholeText(answer);
      const table = decodeTable(parsed(text));
      await this.#subscriber.overlay(table.overlay);
      if (replaces(table, this.#subscriber.held)) await this.#subscriber.take(table, text, isUrgent);
      this.#etag = answer.headers.get("etag") ?? "";
    }
    this.#confirm(Number(answer.headers.get("x-tieline-silent-ms") ?? 0));
  }

  /** The endpoint passes on for how long its own source was silent. */
  #confirm(silentMs: number): void {
    if (silentMs < UNCONFIRMED_MS) this.#subscriber.heard();
    else this.#subscriber.failed("no controller has confirmed the table for 5 s");
  }

  async #listen(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(BACKOFF_FIRST_S, BACKOFF_LONGEST_S);
    while (!signal.aborted) {
      const beganMs = performance.now();
      let retryAfterS = 0;
      try {
        await this.#follow(signal);
      } catch (error) {
        if (error instanceof EndpointError) retryAfterS = error.retryAfterS; // the poll says what is wrong
      }
      this.#isStreaming = false;
      this.#waitAtMost(between(POLL_MIN_MS, POLL_MAX_MS));
      if (performance.now() - beganMs > 1_000 * BACKOFF_LONGEST_S) backoff.reset();
      await sleep(1_000 * backoff.nextS(retryAfterS), signal);
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const silence = new AbortController();
    let timer = setTimeout(() => silence.abort(), STREAM_SILENT_MS);
    try {
      const answer = await this.#endpoint.ask("/v1/events", {}, AbortSignal.any([signal, silence.signal]));
      const decoder = new TextDecoder();
      let rest = "";
      for await (const piece of answer.body ?? []) {
        clearTimeout(timer);
        timer = setTimeout(() => silence.abort(), STREAM_SILENT_MS);
        const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
        rest = lines.pop() ?? "";
        if (rest.length > LINE_MAX) return;
        for (const line of lines) if (line.startsWith("data:")) this.#announced(parsed(line.slice(5)));
      }
    } finally {
      clearTimeout(timer);
      silence.abort();
    }
  }

  /** An event of the stream. The endpoint repeats the last one: then there is nothing to fetch. */
  #announced(event: unknown): void {
    if (!isObject(event) || typeof event.etag !== "string") return;
    this.#isStreaming = true;
    const etag = `${event.etag.slice(0, -1)};json"`; // the name of the same table in its JSON
    if (etag === this.#etag) {
      this.#confirm(Number(event.silent_ms ?? 0));
      return;
    }
    this.#isUrgent ||= event.urgent === true;
    this.#waitAtMost(this.#isUrgent ? 0 : between(0, JITTER_MAX_MS));
  }

  /** Make the next fetch due within `waitMs`, or leave it if it is due earlier. */
  #waitAtMost(waitMs: number): void {
    this.#dueMs = Math.min(this.#dueMs, performance.now() + waitMs);
    this.#bell.ring();
  }

  async #untilDue(signal: AbortSignal): Promise<void> {
    for (let leftMs = this.#dueMs - performance.now(); leftMs > 0; leftMs = this.#dueMs - performance.now()) {
      await this.#bell.wait(leftMs, signal);
      if (signal.aborted) return;
    }
  }
}

/** Whether the table replaces the one in force. Throws `TableError` for one of another history of Kafka. */
export function replaces(table: Table, held: Generation | undefined): boolean {
  if (held !== undefined && held.lineage !== table.generation.lineage) {
    if (table.parents.includes(held.lineage)) return true;
    throw new TableError(
      `LINEAGE: the endpoint has ${generationText(table.generation)}; this client has ${generationText(held)} of ` +
        "another lineage and keeps it. If the new lineage is right, run `tieline adopt-lineage`",
    );
  }
  return isNewer(table.generation, held);
}

/** The text of an answer, held against its Content-Digest (RFC 9530) where it has one. */
async function wholeText(answer: Response): Promise<string> {
  const bytes = await answer.arrayBuffer();
  if (bytes.byteLength > ANSWER_MAX) throw new TableError(`the table takes ${bytes.byteLength} bytes`);
  const digest = /sha-256=:([^:]+):/.exec(answer.headers.get("content-digest") ?? "")?.[1];
  if (digest !== undefined && !answer.headers.has("content-encoding") && digest !== (await sha256(bytes))) {
    throw new TableError("the table is damaged: it is not what its content-digest says");
  }
  return new TextDecoder().decode(bytes);
}

async function sha256(bytes: ArrayBuffer): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return btoa(String.fromCharCode(...digest));
}

function between(least: number, most: number): number {
  return least + Math.random() * (most - least);
}
