/** What this process saw of the pools, posted once a second to `POST /v1/reports`: the planner learns demand and
 * faults from it. A request never waits for a report; what can't be sent while it is worth anything is dropped
 * and counted. */

import { Backoff } from "./backoff.ts";
import type { PickCount } from "./chooser.ts";
import type { Out } from "./ejection.ts";
import { type Endpoint, EndpointError } from "./endpoint.ts";
import type { Outcome } from "./exchange.ts";
import type { Flights } from "./load.ts";
import { CONFIGURATION_FAULTS, type ResultClass, UNMARKED } from "./outcome.ts";
import { Bell, sleep } from "./waiting.ts";

const SAMPLES_MAX = 512;
const LATENCY_MAX_MS = 3.6e6;
const OUTBOX_MAX = 120;
const WORTH_MS = 15_000;
const URGENT_EVERY_MS = 1_000;
const FLOWS_MAX = 5_000;
const POOLS_MAX = 2_000;
const IDLE_MS = 60_000; // of the sender; a report rings it awake
const BACKOFF_FIRST_S = 0.1;
const BACKOFF_LONGEST_S = 5;

/** At most 512 values of a window: every value until there are so many, then every second, every fourth. */
class Samples {
  #values: number[] = [];
  #every = 1;
  #count = 0;

  add(value: number): void {
    if (this.#count % this.#every === 0) {
      this.#values.push(Math.min(Math.max(value, 0), LATENCY_MAX_MS));
      if (this.#values.length >= SAMPLES_MAX) {
        this.#values = this.#values.filter((_, place) => place % 2 === 0);
        this.#every *= 2;
      }
    }
    this.#count++;
  }

  /** The value at this rank; undefined without values. */
  quantile(share: number): number | undefined {
    const sorted = [...this.#values].sort((left, right) => left - right);
    return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
  }
}

class PoolCounts {
  readonly outcomes = new Map<ResultClass, number>();
  units = 0;
  readonly firstToken = new Samples();
  readonly perToken = new Samples();
}

/** Everything counted since the last report. */
export class DemandWindow {
  #pools = new Map<string, PoolCounts>();
  #offered = new Map<string, number>();
  #shed = new Map<string, number>();

  /** A caller asks for so much load. */
  offered(origin: string, units: number): void {
    this.#offered.set(origin, (this.#offered.get(origin) ?? 0) + units);
  }

  /** A request of so much load was turned away. */
  shed(origin: string, units: number): void {
    this.#shed.set(origin, (this.#shed.get(origin) ?? 0) + units);
  }

  /** An attempt at the pool has ended. */
  observe(pool: string, { result, blame, units = 0, firstTokenMs, perTokenMs }: Outcome): void {
    let row = this.#pools.get(pool);
    if (row === undefined) this.#pools.set(pool, (row = new PoolCounts()));
    // What is only this one request's is no fault of the pool's configuration.
    const isOwn = CONFIGURATION_FAULTS.has(result) && blame !== undefined && UNMARKED.has(blame);
    const counted = isOwn ? "client_error" : result;
    row.outcomes.set(counted, (row.outcomes.get(counted) ?? 0) + 1);
    row.units += Math.max(0, units);
    if (firstTokenMs !== undefined) row.firstToken.add(firstTokenMs);
    if (perTokenMs !== undefined) row.perToken.add(perTokenMs);
  }

  /** Flows and pools of a report; the window begins anew. */
  take(
    workload: string, counts: ReadonlyMap<string, PickCount>, outs: ReadonlyMap<string, Out>, flights: Flights,
    nowMs: number,
  ): { flows: object[]; pools: object[] } {
    const [pools, offered, shed] = [this.#pools, this.#offered, this.#shed];
    [this.#pools, this.#offered, this.#shed] = [new Map(), new Map(), new Map()];
    const origins = [...new Set([...counts.keys(), ...offered.keys(), ...shed.keys()])].sort();
    const flows = origins.map((origin) => ({
      workload,
      origin,
      requests: counts.get(origin)?.offered ?? 0,
      offered_units: offered.get(origin) ?? 0,
      shed_requests: Math.max(0, counts.get(origin)?.shed ?? 0),
      shed_units: shed.get(origin) ?? 0,
    }));
    const flying = flights.counts(nowMs);
    const names = [...new Set([...pools.keys(), ...outs.keys(), ...flying.keys()])].sort();
    const rows = names.map((pool) => {
      const row = pools.get(pool) ?? new PoolCounts();
      const out = outs.get(pool);
      return {
        pool,
        outcomes: Object.fromEntries(row.outcomes),
        units: row.units,
        first_token_p50_ms: row.firstToken.quantile(0.5),
        first_token_p99_ms: row.firstToken.quantile(0.99),
        per_token_p50_ms: row.perToken.quantile(0.5),
        in_flight: flying.get(pool)?.count ?? 0,
        oldest_in_flight_ms: Math.round(flying.get(pool)?.oldestMs ?? 0),
        ejected: out !== undefined && nowMs < out.untilMs ? out.result : undefined,
      };
    });
    return { flows: flows.slice(0, FLOWS_MAX), pools: rows.slice(0, POOLS_MAX) };
  }
}

/** Where a client stands, as its report says it. */
export interface Standing {
  readonly generation: string;
  readonly state: string;
  readonly intervalMs: number;
  readonly flows: object[];
  readonly pools: object[];
}

/** Posts the reports of one client, in order and one at a time. */
export class Reporter {
  dropped = 0;
  readonly #endpoint: Endpoint;
  readonly #clientId: string;
  readonly #stand: () => Standing;
  readonly #incarnation = crypto.randomUUID().replaceAll("-", "").slice(0, 16);
  readonly #outbox: { body: string; expiresMs: number }[] = [];
  readonly #lastUrgentMs = new Map<string, number>();
  #sequence = 0;
  #windowStartMs = Date.now();
  readonly #hurried = new Bell();
  readonly #filled = new Bell();
  readonly #sent = new Bell();
  #isUrgent = false;
  #isSending = false;

  constructor(endpoint: Endpoint, clientId: string, stand: () => Standing) {
    this.#endpoint = endpoint;
    this.#clientId = clientId;
    this.#stand = stand;
  }

  /** Report at the table's interval, and at once when that is urgent, until the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const sending = this.#send(signal);
    let intervalMs = 1_000;
    while (!signal.aborted) {
      if (!this.#isUrgent) await this.#hurried.wait(intervalMs, signal);
      if (signal.aborted) break;
      intervalMs = this.post();
    }
    await sending;
  }

  /** A pool was left: reported at once, at most once a second for each. */
  ejected(pool: string, nowMs: number): void {
    const lastMs = this.#lastUrgentMs.get(pool);
    if (lastMs !== undefined && nowMs - lastMs < URGENT_EVERY_MS) return;
    this.#lastUrgentMs.set(pool, nowMs);
    this.hurry();
  }

  /** Report at once. */
  hurry(): void {
    this.#isUrgent = true;
    this.#hurried.ring();
  }

  /** Hand the window to the outbox; gives the interval of reports. */
  post(): number {
    const { intervalMs, ...standing } = this.#stand();
    const nowMs = Date.now();
    const report = {
      type: "demand.v1",
      client: this.#clientId,
      incarnation: this.#incarnation,
      sequence: ++this.#sequence,
      window_start_ms: Math.min(this.#windowStartMs, nowMs),
      window_end_ms: nowMs,
      interval_ms: intervalMs,
      urgent: this.#isUrgent,
      version: "typescript 0.1.0",
      ...standing,
    };
    this.#windowStartMs = nowMs;
    this.#isUrgent = false;
    this.#outbox.push({ body: JSON.stringify(report), expiresMs: nowMs + WORTH_MS });
    if (this.#outbox.length > OUTBOX_MAX) {
      this.#outbox.shift();
      this.dropped++;
    }
    this.#filled.ring();
    return intervalMs;
  }

  /** Report now, and wait until everything was sent; false when the signal comes first. */
  async flush(signal: AbortSignal): Promise<boolean> {
    this.post();
    const isBusy = () => this.#outbox.length > 0 || this.#isSending;
    while (isBusy() && !signal.aborted) await this.#sent.wait(IDLE_MS, signal);
    return !isBusy();
  }

  async #send(signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(BACKOFF_FIRST_S, BACKOFF_LONGEST_S);
    while (!signal.aborted) {
      const entry = this.#outbox.shift();
      if (entry === undefined) await this.#filled.wait(IDLE_MS, signal);
      else if (Date.now() > entry.expiresMs) this.dropped++;
      else await this.#sendOne(entry, backoff, signal);
    }
    this.dropped += this.#outbox.length;
  }

  async #sendOne(entry: { body: string; expiresMs: number }, backoff: Backoff, signal: AbortSignal): Promise<void> {
    this.#isSending = true;
    try {
      const headers = { "content-type": "application/json" };
      const answer = await this.#endpoint.ask("/v1/reports", { method: "POST", headers, body: entry.body }, signal);
      await answer.arrayBuffer();
      backoff.reset();
    } catch (error) {
      if (error instanceof EndpointError && error.isFinal) this.dropped++;
      else this.#outbox.unshift(entry);
      const retryAfterS = error instanceof EndpointError ? error.retryAfterS : 0;
      await sleep(1_000 * backoff.nextS(retryAfterS), signal);
    } finally {
      this.#isSending = false;
      this.#sent.ring();
    }
  }
}
