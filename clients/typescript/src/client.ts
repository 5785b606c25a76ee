/** The client: follows the route table, and gives the `fetch` that sends an SDK's requests by it. */

import { RetryBudget } from "./budget.ts";
import { type Credential, Credentials } from "./credentials.ts";
import { Endpoint } from "./endpoint.ts";
import { withoutExcluded } from "./exclusion.ts";
import { Exchange, type Outcome, type Tools } from "./exchange.ts";
import { readLastGood, writeLastGood } from "./last-good.ts";
import { Estimator, Flights, Usual } from "./load.ts";
import type { Needs, Route, Shed } from "./outcome.ts";
import { type Overlay, publicKeys, verified } from "./overlay.ts";
import { Destinations } from "./providers.ts";
import { responseOf } from "./reply.ts";
import { DemandWindow, Reporter } from "./reports.ts";
import { readCall } from "./request.ts";
import { type PoolView, Router } from "./router.ts";
import { type Subscriber, TableSource } from "./source.ts";
import { Holders } from "./state.ts";
import type { State, Status } from "./status.ts";
import { type Generation, type Settings, type Table, decodeSettings, generationText } from "./table.ts";
import { Bell } from "./waiting.ts";

const BASE_URL = "http://tieline.invalid/v1";
const CLOSE_WITHIN_MS = 2_000;

export interface ClientOptions {
  /** The endpoint of `tieline web`, e.g. `https://controller:8440`. */
  readonly url: string;
  /** The caller's token, or a function that gives it. */
  readonly token?: string | (() => string);
  readonly workload: string;
  readonly origin: string;
  /** More origins that requests may name by the header `x-tieline-origin`. */
  readonly origins?: readonly string[];
  /** Secrets by the names in the table; others come from `TIELINE_CREDENTIAL_<NAME>`. */
  readonly credentials?: Readonly<Record<string, Credential>>;
  /** A file for the last good table. Needs Node. */
  readonly lastGood?: string;
  /** Public keys in PEM of those who may issue emergency overlays. Without any, overlays are refused. */
  readonly overlayKeys?: readonly string[];
  /** The installation that overlays must be for. */
  readonly namespace?: string;
  /** The name in reports, one for each process. */
  readonly clientId?: string;
  /** What sends requests, to pools and to the endpoint. */
  readonly fetch?: typeof fetch;
}

export class Client implements Subscriber {
  /** The `baseURL` for the SDK: a name that no request is sent to. */
  readonly baseURL = BASE_URL;
  readonly #options: ClientOptions;
  readonly #router: Router;
  readonly #tools: Tools;
  readonly #endpoint: Endpoint;
  readonly #reporter: Reporter;
  readonly #credentials: Credentials;
  readonly #life = new AbortController();
  readonly #applied = new Bell();
  #keys: ReadonlyMap<string, CryptoKey> = new Map();
  #settings: Settings = decodeSettings({});
  #table: Table | undefined; // as it came; the router has the same one under the overlay
  #overlay: Overlay | undefined;
  #overlayTimer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<unknown> | undefined;
  #isClosing = false;
  #heardMs: number | undefined;
  #error = "";
  #fileError = "";
  #overlayError = "";

  constructor(options: ClientOptions) {
    const send = options.fetch ?? globalThis.fetch;
    const clock = () => Math.floor(performance.now());
    const environment = (globalThis as { process?: { env: Record<string, string | undefined> } }).process?.env ?? {};
    this.#options = options;
    this.#router = new Router({ workload: options.workload, origin: options.origin, clock, phase: Math.random() });
    this.#endpoint = new Endpoint(options.url, options.token, send);
    this.#credentials = new Credentials(options.credentials ?? {}, environment, clock);
    const settings = () => this.#settings;
    this.#tools = {
      fetch: send,
      credentials: this.#credentials,
      destinations: new Destinations((name) => this.#credentials.hostsOf(name)),
      get retriesEmpty() {
        return settings().emptyAnswers === "retry";
      },
      epochMs: Date.now,
      router: this.#router,
      budget: new RetryBudget(),
      holders: new Holders(),
      flights: new Flights(),
      usual: new Usual(),
      estimator: new Estimator(),
      window: new DemandWindow(),
      settings,
      clock,
      waiting: 0,
    };
    this.#reporter = new Reporter(this.#endpoint, options.clientId ?? newClientId(options), () => this.#standing());
    this.#router.onEjection.push((pool, out) => {
      this.#tools.flights.left(pool, out);
      this.#reporter.ejected(pool, clock());
    });
  }

  /** A client that follows its table. Never throws because the control plane is away. */
  static async start(options: ClientOptions): Promise<Client> {
    const client = new Client(options);
    await client.#start();
    return client;
  }

  /** The `fetch` for the SDK: sends the request to a pool of the table, and to another one if that fails. An
   * arrow function, so that it can be handed over as it is. */
  readonly fetch = async (input: RequestInfo | URL, init?: RequestInit): Promise<Response> => {
    const call = await readCall(input, init, BASE_URL);
    return responseOf(await new Exchange(this.#tools, call).run());
  };

  /** Whether a table is there, from the endpoint or from the file, within so long. Never throws. */
  async ready(withinMs: number): Promise<boolean> {
    const deadline = AbortSignal.any([AbortSignal.timeout(withinMs), this.#life.signal]);
    while (this.#heardMs === undefined && !deadline.aborted) await this.#applied.wait(withinMs, deadline);
    return this.#heardMs !== undefined;
  }

  /** Where a request goes, for applications that send it themselves; tell its end to `report`. */
  pick(model: string, more: { session?: string; needs?: Needs; exclude?: readonly string[] } = {}): Route | Shed {
    const { session, needs, exclude = [] } = more;
    return this.#router.pick({ model, session, needs, exclude: new Set(exclude) });
  }

  /** How a request by a picked route ended. */
  report({ target: { pool, model } }: Route, outcome: Outcome): void {
    this.#router.record({ pool, model, ...outcome });
    this.#tools.window.observe(pool, outcome);
  }

  /** Where the client stands. */
  get status(): Status {
    const ageMs = this.#heardMs === undefined ? undefined : Math.round(performance.now() - this.#heardMs);
    return {
      state: this.#state(ageMs),
      generation: this.#table === undefined ? "" : generationText(this.#table.generation),
      ageMs,
      error: this.#error,
      fileError: this.#fileError,
      overlay: this.#overlay?.id ?? "",
      overlayError: this.#overlayError,
      reportsDropped: this.#reporter.dropped,
    };
  }

  /** Which pool is out, why and for how long. */
  explain(): PoolView[] {
    return this.#router.explain();
  }

  /** Report now; false when not everything could be sent within so long. */
  async flush(withinMs: number): Promise<boolean> {
    return this.#reporter.flush(AbortSignal.timeout(withinMs));
  }

  /** Send the last report, for two seconds at most, and stop. Requests on their way go on. */
  async close(): Promise<void> {
    if (this.#running === undefined) return;
    this.#isClosing = true;
    await this.flush(CLOSE_WITHIN_MS);
    this.#life.abort();
    clearTimeout(this.#overlayTimer);
    await this.#running;
  }

  async #start(): Promise<void> {
    this.#router.whyNoTable = `nothing has come from ${this.#options.url} yet`;
    try {
      this.#keys = await publicKeys(this.#options.overlayKeys ?? []);
    } catch (error) {
      throw new TypeError(`overlayKeys: expected Ed25519 public keys in PEM: ${String(error)}`);
    }
    const { lastGood, workload, origin, origins = [] } = this.#options;
    const followed = [...new Set([origin, ...origins])];
    if (lastGood !== undefined) {
      try {
        const table = await readLastGood(lastGood, workload, followed);
        if (table !== undefined) await this.#putInForce(table);
      } catch (error) {
        this.#fileError = messageOf(error);
      }
    }
    const source = new TableSource(this.#endpoint, workload, followed, this);
    this.#running = Promise.all([source.run(this.#life.signal), this.#reporter.run(this.#life.signal)]);
  }

  // What its source reports.

  get held(): Generation | undefined {
    return this.#table?.generation;
  }

  async take(table: Table, text: string, isUrgent: boolean): Promise<void> {
    await this.#putInForce(table);
    if (isUrgent) this.#reporter.hurry();
    if (this.#options.lastGood === undefined) return;
    try {
      await writeLastGood(this.#options.lastGood, text);
      this.#fileError = "";
    } catch (error) {
      this.#fileError = messageOf(error);
    }
  }

  /** Deleting an overlay does not take it back; only a newer signed one does. */
  async overlay(data: Uint8Array): Promise<void> {
    if (data.length === 0) return;
    const { namespace = "tieline" } = this.#options;
    try {
      const overlay = await verified(data, this.#keys, namespace, Date.now());
      this.#overlayError = "";
      if (this.#overlay !== undefined && overlay.issuedMs <= this.#overlay.issuedMs) return;
      this.#overlay = overlay;
      clearTimeout(this.#overlayTimer);
      this.#overlayTimer = setTimeout(() => this.#endOverlay(), overlay.expiresMs - Date.now());
      this.#apply();
    } catch (error) {
      this.#overlayError = messageOf(error);
    }
  }

  heard(): void {
    this.#heardMs = performance.now();
    this.#error = "";
    this.#applied.ring();
  }

  failed(error: string): void {
    this.#error = error;
  }

  async #putInForce(table: Table): Promise<void> {
    this.#table = table;
    this.#settings = table.settings;
    this.#apply();
    await this.overlay(table.overlay);
  }

  #endOverlay(): void {
    this.#overlay = undefined;
    this.#apply();
  }

  #apply(): void {
    if (this.#table !== undefined) this.#router.apply(withoutExcluded(this.#table, this.#overlay?.exclude ?? []));
  }

  #state(ageMs: number | undefined): State {
    if (this.#running === undefined || this.#isClosing) return "off";
    if (ageMs === undefined) return this.#table === undefined ? "initializing" : "last_good";
    return ageMs < this.#settings.staleAfterMs ? "live" : "stale";
  }

  #standing() {
    const { flights, window, clock } = this.#tools;
    const { generation, state } = this.status;
    const counts = this.#router.takeCounts();
    const rows = window.take(this.#options.workload, counts, this.#router.outs(), flights, clock());
    return { generation, state, intervalMs: this.#settings.reportIntervalMs, ...rows };
  }
}

function newClientId({ workload, origin }: ClientOptions): string {
  return `${workload.slice(0, 32)}-${origin.slice(0, 32)}-${crypto.randomUUID().slice(-12)}`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
