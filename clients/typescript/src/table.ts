/**
 * The route table as `GET /v1/table/WORKLOAD` serves it (docs/http-table.md), checked. A table that breaks a
 * rule is refused as a whole: the client goes on with the one that it has.
 */

export const MILLION = 1_000_000;
const POOL = /^[a-z0-9][a-z0-9._-]{0,63}\/[a-z0-9][a-z0-9._-]{0,63}\/[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$/;
const ADAPTERS = new Set(["openai", "azure", "azure_classic", "vertex", "oci", "anthropic"]);

export type Adapter = "openai" | "azure" | "azure_classic" | "vertex" | "oci" | "anthropic";

/** Which table this is: one history of Kafka, one leadership in it, one publication in that. */
export interface Generation {
  readonly lineage: string;
  readonly epoch: number;
  readonly seq: number;
}

/** A logical model that a pool serves, under the pool's own `name`. 0 leaves a limit to the settings. */
export interface ModelOffer {
  readonly model: string;
  readonly name: string;
  readonly contextTokens: number;
  readonly features: readonly string[];
  readonly firstTokenTimeoutMs: number;
  readonly wholeAnswerTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

/** What a client must know to send a request to a pool. `credential` is the name of a secret. */
export interface PoolInfo {
  readonly pool: string;
  readonly url: string;
  readonly adapter: Adapter;
  readonly credential: string;
  readonly models: readonly ModelOffer[];
}

/** Pools with their parts per million; the rest, `shed`, is turned away. */
export interface Split {
  readonly rows: readonly { readonly info: PoolInfo; readonly weight: number }[];
  readonly shed: number;
}

/** One (workload, origin). `pools`: each pool that any of its splits or its last resort names, once. */
export interface TableRoute {
  readonly workload: string;
  readonly origin: string;
  readonly split: Split;
  readonly shedReason: string;
  readonly onLoss: ReadonlyMap<string, Split>;
  readonly lastResort: readonly PoolInfo[];
  readonly pools: readonly PoolInfo[];
}

/** What the table tells every client; durations in milliseconds. */
export interface Settings {
  readonly reportIntervalMs: number;
  readonly attemptsMax: number;
  readonly firstTokenTimeoutMs: number;
  readonly idleTimeoutMs: number;
  readonly staleAfterMs: number;
  readonly emptyAnswers: "serve" | "retry";
}

/** One publication, as far as it concerns this client. `overlay`: the signed emergency overlay as bytes. */
export interface Table {
  readonly generation: Generation;
  readonly routes: ReadonlyMap<string, TableRoute>;
  readonly settings: Settings;
  readonly overlay: Uint8Array;
  readonly parents: readonly string[];
}

/** A table must not be used; the message says what is wrong and where. */
export class TableError extends Error {
  override readonly name = "TableError";
}

/** `lineage:epoch:seq`. */
export function generationText({ lineage, epoch, seq }: Generation): string {
  return `${lineage}:${epoch}:${seq}`;
}

/** Whether `generation` follows `other` within one lineage. */
export function isNewer(generation: Generation, other: Generation | undefined): boolean {
  if (other === undefined) return true;
  if (generation.lineage !== other.lineage) return false;
  return generation.epoch > other.epoch || (generation.epoch === other.epoch && generation.seq > other.seq);
}

/** The table that this JSON value describes. Throws `TableError`. */
export function decodeTable(value: unknown): Table {
  const fields = object(value, "the table");
  const settings = decodeSettings(object(fields.settings ?? {}, "settings"));
  const routes = new Map<string, TableRoute>();
  for (const row of list(fields.routes, "routes")) {
    const route = decodeRoute(object(row, "a route"));
    if (routes.has(route.origin)) throw new TableError(`the route ${route.origin} is listed twice`);
    routes.set(route.origin, route);
  }
  if (routes.size === 0) throw new TableError("an empty table");
  return {
    generation: decodeGeneration(text(fields.generation, "generation")),
    routes,
    settings,
    overlay: bytesOf(text(fields.overlay_base64 ?? "", "overlay_base64")),
    parents: list(fields.parents ?? [], "parents").map((lineage) => text(lineage, "parents")),
  };
}

function decodeGeneration(from: string): Generation {
  const match = /^(.*):(\d{1,15}):(\d{1,15})$/.exec(from);
  if (match === null || match[1] === "") throw new TableError(`generation ${from}: expected lineage:epoch:seq`);
  return { lineage: match[1], epoch: Number(match[2]), seq: Number(match[3]) };
}

/** The settings, with the default of each that is not stated. Throws `TableError`. */
export function decodeSettings(fields: Fields): Settings {
  const emptyAnswers = fields.empty_answers ?? "serve";
  if (emptyAnswers !== "serve" && emptyAnswers !== "retry") {
    throw new TableError("settings.empty_answers: expected serve or retry");
  }
  return {
    reportIntervalMs: whole(fields.report_interval_ms ?? 1_000, "report_interval_ms"),
    attemptsMax: whole(fields.attempts_max ?? 3, "attempts_max"),
    firstTokenTimeoutMs: whole(fields.first_token_timeout_ms ?? 10_000, "first_token_timeout_ms"),
    idleTimeoutMs: whole(fields.idle_timeout_ms ?? 10_000, "idle_timeout_ms"),
    staleAfterMs: whole(fields.stale_after_ms ?? 10_000, "stale_after_ms"),
    emptyAnswers,
  };
}

function decodeRoute(fields: Fields): TableRoute {
  const workload = text(fields.workload, "workload");
  const origin = text(fields.origin, "origin");
  const name = `${workload}/${origin}`;
  const pools = new Map<string, PoolInfo>();
  const split = decodeSplit(fields, name, pools);
  const shedReason = text(fields.shed_reason ?? "", "shed_reason");
  if (split.shed === MILLION && shedReason === "") {
    throw new TableError(`${name}: everything is shed, and shed_reason is empty`);
  }
  const onLoss = new Map<string, Split>();
  for (const [provider, row] of Object.entries(object(fields.on_loss ?? {}, "on_loss"))) {
    const loss = decodeSplit(object(row, `on_loss.${provider}`), `${name} on loss of ${provider}`, pools);
    if (loss.rows.some(({ info, weight }) => weight > 0 && providerOf(info.pool) === provider)) {
      throw new TableError(`${name} on loss of ${provider}: a pool of ${provider} still has weight`);
    }
    onLoss.set(provider, loss);
  }
  const lastResort = list(fields.last_resort ?? [], "last_resort").map((row) => {
    return decodePool(object(row, "last_resort"), pools);
  });
  requireEachOnce(lastResort, `${name} last resort: a pool is named twice`);
  return { workload, origin, split, shedReason, onLoss, lastResort, pools: [...pools.values()] };
}

function decodeSplit(fields: Fields, place: string, pools: Map<string, PoolInfo>): Split {
  const rows = list(fields.pools, `${place}: pools`).map((row) => {
    const poolFields = object(row, `${place}: a pool`);
    return { info: decodePool(poolFields, pools), weight: share(poolFields.weight_ppm, `${place}: weight_ppm`) };
  });
  requireEachOnce(rows.map(({ info }) => info), `${place}: a pool has two weights`);
  const shed = share(fields.shed_ppm ?? 0, `${place}: shed_ppm`);
  const total = rows.reduce((sum, row) => sum + row.weight, shed);
  if (total !== MILLION) throw new TableError(`${place}: weights and shed sum to ${total}, not ${MILLION}`);
  return { rows, shed };
}

function decodePool(fields: Fields, pools: Map<string, PoolInfo>): PoolInfo {
  const pool = text(fields.pool, "pool");
  const before = pools.get(pool);
  if (before !== undefined) return before;
  const adapter = text(fields.adapter ?? "openai", `${pool}: adapter`);
  if (!POOL.test(pool)) throw new TableError(`${pool}: expected provider/region/deployment`);
  if (!ADAPTERS.has(adapter)) throw new TableError(`${pool}: the adapter ${adapter} is not known here`);
  const info: PoolInfo = {
    pool,
    url: text(fields.url, `${pool}: url`),
    adapter: adapter as Adapter,
    credential: text(fields.credential ?? "", `${pool}: credential`),
    models: list(fields.models ?? [], `${pool}: models`).map((row) => decodeOffer(object(row, "a model"))),
  };
  pools.set(pool, info);
  return info;
}

/** One model of a pool, from its JSON. Throws `TableError`. */
export function decodeOffer(fields: Fields): ModelOffer {
  return {
    model: text(fields.model, "model"),
    name: text(fields.name, "name"),
    contextTokens: whole(fields.context_tokens ?? 0, "context_tokens"),
    features: list(fields.features ?? [], "features").map((feature) => text(feature, "features")),
    firstTokenTimeoutMs: whole(fields.first_token_timeout_ms ?? 0, "first_token_timeout_ms"),
    wholeAnswerTimeoutMs: whole(fields.whole_answer_timeout_ms ?? 0, "whole_answer_timeout_ms"),
    idleTimeoutMs: whole(fields.idle_timeout_ms ?? 0, "idle_timeout_ms"),
  };
}

/** The provider that runs a pool: the first part of its name. */
export function providerOf(pool: string): string {
  return pool.slice(0, pool.indexOf("/"));
}

type Fields = Record<string, unknown>;

function requireEachOnce(infos: readonly PoolInfo[], fault: string): void {
  if (new Set(infos).size !== infos.length) throw new TableError(fault);
}

function object(value: unknown, place: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw new TableError(`${place}: expected an object`);
}

function list(value: unknown, place: string): unknown[] {
  if (Array.isArray(value)) return value;
  throw new TableError(`${place}: expected a list`);
}

function text(value: unknown, place: string): string {
  if (typeof value === "string") return value;
  throw new TableError(`${place}: expected a text`);
}

function whole(value: unknown, place: string): number {
  if (Number.isSafeInteger(value) && (value as number) >= 0) return value as number;
  throw new TableError(`${place}: expected a whole number, 0 or more`);
}

function share(value: unknown, place: string): number {
  const parts = whole(value, place);
  if (parts > MILLION) throw new TableError(`${place}: more than a million`);
  return parts;
}

function bytesOf(base64: string): Uint8Array {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    throw new TableError("overlay_base64: no base64");
  }
}
