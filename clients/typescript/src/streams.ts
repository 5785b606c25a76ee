/**
 * One stream of server-sent events: where its output begins, whether it came to its end, and how it ended.
 * A stream that ends without its protocol's own last event was cut, even where its HTTP body ended well: the
 * openai SDK itself would not notice.
 */

import { errorIn, isObject, parsed, readingOfError } from "./answers.ts";
import { HEALTH_FAILURES, type ResultClass } from "./outcome.ts";
import { type TokenCounts, isTruthy, tokenCounts } from "./whole.ts";

const CHUNKS_MAX = 64;
const CHARACTERS_MAX = 256 * 1024;
const EVENT_CHARACTERS_MAX = 16 * 1024 * 1024;
const DONE = "[DONE]";
const FINISH_REASON = 'finish_reason"';
const EARLY_NAMES = new Set(["keepalive", "keep-alive", "keep_alive", "heartbeat", "ping"]);
const EARLY_SUFFIXES = [".created", ".queued", ".in_progress", ".added"];
const EXPECTED_ENDS = new Set(["content_filter", "max_output_tokens", "max_tokens"]);
const NO_JSON = { code: "server_error", message: "the stream has an event that is no JSON" };
const OUTPUT_FIELDS = (
  "content refusal reasoning_content reasoning reasoning_details tool_calls function_call audio images"
).split(" ");

type Mark = "early" | "output" | "error" | "last";
export type Phase = "waiting" | "output" | "error";
type Fields = Record<string, unknown>;

interface Judgement {
  readonly mark: Mark;
  readonly error?: unknown;
  readonly finished?: readonly number[];
  readonly usage?: unknown;
}

/** How the events of one API are read. `words`: each event after the first output that says more than output
 * contains one of them. */
interface Protocol {
  readonly words: readonly string[];
  readonly lastTypes: ReadonlySet<string>;
  readonly byChoices?: boolean; // answers have choices that finish one by one
  readonly endsWithBody?: boolean; // a clean end of the body is an end
  readonly takesAnyText?: boolean; // an event that is no JSON is no fault
}

const CHAT: Protocol = { words: ["error", DONE, '_tokens"'], lastTypes: new Set(), byChoices: true };
const RESPONSES: Protocol = {
  words: ["error", "complete", "failed", "cancelled"],
  lastTypes: new Set(["response.completed", "response.incomplete", "response.failed", "response.cancelled"]),
};
const IMAGES: Protocol = {
  words: ["error", ".completed"], lastTypes: new Set(["image_generation.completed", "image_edit.completed"]),
};
const TRANSCRIPTION: Protocol = { words: ["error", ".done"], lastTypes: new Set(["transcript.text.done"]) };
const SPEECH: Protocol = { words: ["error", ".done"], lastTypes: new Set(["speech.audio.done"]) };
const UNKNOWN: Protocol = {
  words: ["error", DONE, '_tokens"'], lastTypes: new Set(), endsWithBody: true, takesAnyText: true,
};
const PROTOCOLS: readonly (readonly [end: string, Protocol])[] = [
  ["/completions", CHAT],
  ["/responses", RESPONSES],
  ["/images/generations", IMAGES],
  ["/images/edits", IMAGES],
  ["/audio/transcriptions", TRANSCRIPTION],
  ["/audio/translations", TRANSCRIPTION],
  ["/audio/speech", SPEECH],
];

function protocolOf(path: string): Protocol {
  const plain = path.split("?")[0].replace(/\/+$/, "");
  return PROTOCOLS.find(([end]) => plain.endsWith(end))?.[1] ?? UNKNOWN;
}

/** Cuts a stream into events, whatever its line ends and wherever its pieces end. */
class EventParser {
  overflowed = false;
  #pending = "";
  #isAfterCr = false; // the last character was CR: a LF now belongs to it
  readonly #decoder = new TextDecoder();

  get pendingCharacters(): number {
    return this.#pending.length;
  }

  /** The events that these bytes complete: their lines, with LF between them. */
  blocks(data: Uint8Array): string[] {
    const piece = this.#withLineFeeds(this.#decoder.decode(data, { stream: true }));
    const parts = (this.#pending + piece).split("\n\n");
    this.#pending = parts.pop() ?? "";
    if (this.#pending.length > EVENT_CHARACTERS_MAX) {
      this.overflowed = true;
      this.#pending = this.#pending.slice(-1);
    }
    return parts.map(trimmed).filter((block) => block !== "");
  }

  /** The event that the end of the body left without its empty line. */
  rest(): string {
    const block = trimmed(this.#pending + this.#withLineFeeds(this.#decoder.decode()));
    this.#pending = "";
    return block;
  }

  #withLineFeeds(text: string): string {
    const piece = this.#isAfterCr && text.startsWith("\n") ? text.slice(1) : text;
    if (text !== "") this.#isAfterCr = text.endsWith("\r");
    return piece.includes("\r") ? piece.replace(/\r\n?/g, "\n") : piece;
  }
}

function trimmed(block: string): string {
  return block.replace(/^\n+|\n+$/g, "");
}

/** Reads one stream's bytes in whatever pieces they come; never throws. `answers`: how many choices or images
 * the request asks for. */
export class StreamReader {
  phase: Phase = "waiting";
  error: unknown; // what an error event says; undefined without one
  hasEnded = false;
  events = 0;
  usage: TokenCounts | undefined;
  readonly #protocol: Protocol;
  readonly #answers: number;
  readonly #parser = new EventParser();
  readonly #finished = new Set<number>();
  #lastEvents = 0;
  #earlyChunks = 0;
  #earlyCharacters = 0;

  constructor(path: string, answers: number) {
    this.#protocol = protocolOf(path);
    this.#answers = Math.max(1, answers);
  }

  /** Take the next bytes; gives the phase after them. A stream without output for 64 chunks or 256 KiB counts
   * as output from there. */
  feed(data: Uint8Array): Phase {
    for (const block of this.#parser.blocks(data)) this.#read(block);
    const isLong = this.#earlyCharacters + this.#parser.pendingCharacters >= CHARACTERS_MAX;
    if (this.phase === "waiting" && isLong) this.phase = "output";
    return this.phase;
  }

  /** The body has ended, or nobody reads on; gives how the stream ended, as it counts for the pool.
   * `isClean`: the body came to its own end. */
  close(isClean: boolean): ResultClass {
    const rest = this.#parser.rest();
    if (rest !== "" && !this.hasEnded) this.#read(rest);
    this.hasEnded ||= isClean && this.#endsWithBody;
    if (!this.hasEnded && !isClean) return "cut";
    return this.hasEnded || this.error !== undefined ? this.resultSoFar : "cut";
  }

  /** `ok` without an error, else what the error counts as when output came before it. */
  get resultSoFar(): ResultClass {
    if (this.error === undefined) return "ok";
    const { result } = readingOfError(errorIn(this.error));
    if (HEALTH_FAILURES.has(result)) return "cut";
    return result === "throttled" ? result : "client_error";
  }

  #read(block: string): void {
    this.events++;
    if (this.phase === "waiting") this.#readEarly(block);
    else if (!this.hasEnded && matters(this.#protocol, block)) this.#note(judge(this.#protocol, block));
  }

  #readEarly(block: string): void {
    this.#earlyCharacters += block.length;
    if (this.#earlyCharacters >= CHARACTERS_MAX) this.phase = "output";
    if (readEvent(block).data !== undefined) this.#earlyChunks++;
    const judgement = judge(this.#protocol, block);
    this.#note(judgement);
    if (this.phase !== "waiting") return;
    const { mark, error } = judgement;
    if (mark === "error" || (mark === "last" && error !== undefined)) this.phase = "error";
    else if (mark !== "early" || this.#earlyChunks >= CHUNKS_MAX) this.phase = "output";
  }

  #note({ mark, error, finished = [], usage }: Judgement): void {
    this.usage = tokenCounts(usage) ?? this.usage;
    if (mark === "error" || error !== undefined) {
      this.error = isTruthy(this.error) ? this.error : isTruthy(error) ? error : {};
    }
    for (const index of finished) this.#finished.add(index);
    if (mark !== "last") return;
    this.#lastEvents++;
    this.hasEnded = this.#protocol.lastTypes.size === 0 || this.#lastEvents >= this.#answers;
  }

  get #endsWithBody(): boolean {
    if (this.#protocol.byChoices) return this.#finished.size >= this.#answers;
    return this.#protocol.endsWithBody === true || this.#lastEvents > 0 || this.#parser.overflowed;
  }
}

function readEvent(block: string): { name: string; data: string | undefined } {
  let name = "";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "event") name = value;
  }
  return { name, data: data.length > 0 ? data.join("\n") : undefined };
}

/** Whether this event may be more than output. Nearly every event of a stream is output alone. */
function matters(protocol: Protocol, block: string): boolean {
  const start = protocol.byChoices ? block.indexOf(FINISH_REASON) : -1;
  if (start < 0) return protocol.words.some((word) => block.includes(word));
  const after = start + FINISH_REASON.length;
  const isNull = block.startsWith(":null", after) || block.startsWith(": null", after);
  return !isNull || block.includes(FINISH_REASON, after) || block.includes("error");
}

function judge(protocol: Protocol, block: string): Judgement {
  const { name, data } = readEvent(block);
  const text = data?.trim() ?? "";
  if (text === "") return { mark: name === "error" ? "error" : "early" };
  if (text === DONE) return { mark: protocol.lastTypes.size > 0 ? "output" : "last" };
  const chunk = parsed(text);
  if (chunk === undefined) {
    if (!protocol.takesAnyText) return { mark: "error", error: NO_JSON };
    return { mark: name === "error" ? "error" : "output" };
  }
  return isObject(chunk) ? judgeChunk(protocol, chunk, name) : { mark: "output" };
}

function judgeChunk(protocol: Protocol, chunk: Fields, name: string): Judgement {
  const kind = typeof chunk.type === "string" ? chunk.type : name;
  const response = isObject(chunk.response) ? chunk.response : {};
  const usage = isTruthy(chunk.usage) ? chunk.usage : response.usage;
  const finished = choicesOf(chunk.choices)
    .filter((choice) => isTruthy(choice.finish_reason))
    .map(({ index }) => (Number.isInteger(index) ? (index as number) : 0));
  const error = errorOf(chunk, kind, response);
  return { mark: markOf(protocol, chunk, kind, error, finished), error, finished, usage };
}

function markOf(protocol: Protocol, chunk: Fields, kind: string, error: unknown, finished: number[]): Mark {
  if (protocol.lastTypes.has(kind)) return "last";
  if (error !== undefined) return "error";
  if ((chunk.choices ?? null) !== null) return finished.length > 0 || hasOutput(chunk.choices) ? "output" : "early";
  if (protocol.byChoices && kind === "") return "early";
  return EARLY_NAMES.has(kind) || EARLY_SUFFIXES.some((suffix) => kind.endsWith(suffix)) ? "early" : "output";
}

/** The provider's error in this event. */
function errorOf(chunk: Fields, kind: string, response: Fields): unknown {
  if (isTruthy(chunk.error)) return chunk.error;
  if (kind === "error" || chunk.object === "error") return chunk;
  if (kind === "response.failed") {
    return isTruthy(response.error) ? response.error : { code: "server_error", message: "the response failed" };
  }
  if (kind === "response.incomplete") {
    const reason = isObject(response.incomplete_details) ? response.incomplete_details.reason : undefined;
    if (isTruthy(reason) && !EXPECTED_ENDS.has(String(reason))) {
      return { code: String(reason), message: `the response is incomplete: ${String(reason)}` };
    }
  }
  for (const choice of choicesOf(chunk.choices)) {
    if (isTruthy(choice.error)) return choice.error;
    if (choice.finish_reason === "error") {
      return { code: "server_error", message: "a choice finished with an error" };
    }
  }
  return undefined;
}

function choicesOf(choices: unknown): Fields[] {
  return Array.isArray(choices) ? choices.filter(isObject) : [];
}

function hasOutput(choices: unknown): boolean {
  return choicesOf(choices).some((choice) => {
    const delta = isObject(choice.delta) ? choice.delta : {};
    return isTruthy(choice.text) || OUTPUT_FIELDS.some((field) => isTruthy(delta[field]));
  });
}
