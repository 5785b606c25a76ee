/** How attempts end, and whom that speaks about: the words of reports, picks and rules. */

import type { Adapter, ModelOffer } from "./table.ts";

/** How one attempt at a pool ended. */
export type ResultClass =
  | "ok" | "throttled" | "server_error" | "timeout" | "connect" | "auth" | "not_found" | "client_error" | "cut";

/** Whom the end of an attempt speaks about: who must change for it to end better. */
export type Blame = "nobody" | "caller" | "request" | "model" | "pool" | "account" | "moment";

/** Why a request goes where it goes, or nowhere. */
export type Reason =
  | "weighted" | "affinity" | "failover" | "half_open" | "held" | "provider_lost" | "last_resort" | "shed"
  | "no_table" | "no_route" | "no_model" | "no_pool" | "throttled" | "bad_option";

export const HEALTH_FAILURES: ReadonlySet<ResultClass> = new Set(["server_error", "timeout", "connect", "cut"]);
export const CONFIGURATION_FAULTS: ReadonlySet<ResultClass> = new Set(["auth", "not_found"]);
export const UNMARKED: ReadonlySet<Blame> = new Set(["caller", "request", "moment"]);

/** Where nobody has read the answer, the class alone decides. */
export const BLAME_OF_RESULT: Readonly<Record<ResultClass, Blame>> = {
  ok: "nobody",
  throttled: "pool",
  server_error: "pool",
  timeout: "pool",
  connect: "pool",
  cut: "pool",
  auth: "account",
  not_found: "model",
  client_error: "caller",
};

/** What a request needs of a model. */
export interface Needs {
  readonly contextTokens: number;
  readonly features: readonly string[];
}

/** One pool as seen from one route and model, under one generation. */
export interface Target {
  readonly pool: string;
  readonly url: string;
  readonly adapter: Adapter;
  readonly credential: string;
  readonly model: string; // the caller's logical name
  readonly name: string; // the pool's own name for it
  readonly origin: string;
  readonly generation: string;
  readonly offer: ModelOffer | undefined;
}

/** Where to send one request, and why there. */
export interface Route {
  readonly kind: "route";
  readonly target: Target;
  readonly reason: Reason;
}

/** No route for this request. `why`: each pool that was considered, and why it is out. `fallbacks`: routes
 * that may be tried all the same, the best first, each at its pool's pace. */
export interface Shed {
  readonly kind: "shed";
  readonly reason: Reason;
  readonly text: string;
  readonly retryAfterMs: number | undefined;
  readonly why: readonly string[];
  readonly fallbacks: readonly Route[];
}

/** A `Shed` with what is not said left empty. */
export function shedBecause(reason: Reason, text = "", more: Partial<Shed> = {}): Shed {
  return { kind: "shed", reason, text, retryAfterMs: undefined, why: [], fallbacks: [], ...more };
}
