/** One caller's request through the machine of attempts: the only loop that retries. Always gives an HTTP
 * answer, unless the caller goes away. */

import { type AttemptTools, Patience, attempt, callable } from "./attempt.ts";
import { Backoff } from "./backoff.ts";
import type { RetryBudget } from "./budget.ts";
import type { Question } from "./chooser.ts";
import { crc32 } from "./hashes.ts";
import {
  COSTLY_AFTER_MS, Resending, type Waiting, idleMs, waitingForStream, waitingForTrial, waitingForWhole,
} from "./limits.ts";
import type { Estimator, Flight, Flights, Usual } from "./load.ts";
import { type Blame, type ResultClass, type Route, type Shed, shedBecause } from "./outcome.ts";
import { relayed } from "./relay.ts";
import { type End, type Opening, type Reply, configurationFault, finalFailure, refusal, stamped } from "./reply.ts";
import type { DemandWindow } from "./reports.ts";
import { type Call, isCostly } from "./request.ts";
import { type Action, Attempts, type Why } from "./retry-rule.ts";
import type { Router } from "./router.ts";
import type { Holders } from "./state.ts";
import type { Settings } from "./table.ts";

const DEADLINE_DEFAULT_MS = 600_000;
const WAITING_MAX = 1_000;
const AGAIN_FIRST_S = 1;
const AGAIN_LONGEST_S = 8;

/** What exchanges work with. `waiting`: requests that wait for a pool's turn or Retry-After now. */
export interface Tools extends AttemptTools {
  readonly router: Router;
  readonly budget: RetryBudget;
  readonly holders: Holders;
  readonly flights: Flights;
  readonly usual: Usual;
  readonly estimator: Estimator;
  readonly window: DemandWindow;
  readonly settings: () => Settings;
  readonly clock: () => number;
  waiting: number;
}

export class Exchange {
  readonly #tools: Tools;
  readonly #call: Call;
  readonly #requestId = crypto.randomUUID().replaceAll("-", "");
  readonly #beganMs: number;
  readonly #units: number;
  readonly #origin: string;
  readonly #backoff = new Backoff(AGAIN_FIRST_S, AGAIN_LONGEST_S);
  readonly #resending = new Resending();
  readonly #holder: string | undefined; // the pool that holds what the request refers to
  #hasRenewed = false; // a token, for this request

  constructor(tools: Tools, call: Call) {
    this.#tools = tools;
    this.#call = call;
    this.#beganMs = tools.clock();
    this.#units = tools.estimator.expect(call.bodyBytes, call.outputTokensMax);
    this.#origin = call.origin ?? tools.router.origin;
    this.#holder = tools.holders.poolOf(call.refers);
  }

  /** The reply. Throws only when the caller has gone away. */
  async run(): Promise<Reply> {
    const { clock, window, router, budget } = this.#tools;
    if (this.#call.fault !== "") return refusal(shedBecause("bad_option", this.#call.fault));
    const attempts = new Attempts(this.#wish, this.#routing, budget, () => {
      return Math.floor(this.#backoff.nextS() * 1_000);
    });
    window.offered(this.#origin, this.#units);
    const ends: End[] = [];
    let action = attempts.begin(this.#beganMs);
    for (;;) {
      if (action.kind === "send") {
        const { opening, next } = await this.#sendOnce(action, attempts);
        if (next === undefined) return stamped(replyIn(opening), action.route, attempts);
        ends.push({ opening, route: action.route });
        action = next;
      } else if (action.kind === "wait") {
        await this.#wait(action.waitMs);
        action = attempts.resume(clock());
      } else if (action.kind === "give_up") {
        return finalFailure(ends, attempts, action.why, action.shed);
      } else {
        window.shed(this.#origin, this.#units);
        if (action.shed.fallbacks.length > 0) router.turnedAway(this.#origin);
        return refusal(action.shed);
      }
    }
  }

  get #wish() {
    const { model, session, deadlineMs, refers } = this.#call;
    return {
      model,
      session,
      origin: this.#origin,
      deadlineMs: this.#beganMs + (deadlineMs ?? DEADLINE_DEFAULT_MS),
      attemptsMax: this.#tools.settings().attemptsMax,
      bound: refers.length > 0 && !this.#isShared,
      seeks: refers.length > 0 && this.#holder === undefined,
    };
  }

  /** Whether another pool sees the state that the request refers to. */
  get #isShared(): boolean {
    if (this.#holder === undefined) return false;
    const question = { model: this.#call.model, origin: this.#origin, exclude: new Set([this.#holder]) };
    return this.#tools.router.holder(this.#holder, question).kind === "route";
  }

  /** The router; a request for what one pool holds goes there, whatever the weights. */
  get #routing() {
    const { router } = this.#tools;
    return {
      choose: (question: Question): Route | Shed =>
        this.#holder === undefined ? router.choose(question) : router.holder(this.#holder, question),
      reserve: router.reserve.bind(router),
      look: router.look.bind(router),
    };
  }

  /** One attempt, and the action that follows if it failed. */
  async #sendOnce(
    action: Action & { kind: "send" }, attempts: Attempts,
  ): Promise<{ opening: Opening; next: Action | undefined }> {
    const { clock, router } = this.#tools;
    const { route } = action;
    const beganMs = clock();
    const { opening, wasCalledBack } = await this.#send(route, action.leftMs, this.#partMs(action.leftMs, attempts));
    if (opening.reading.result === "ok") return { opening, next: undefined };
    const wasEnded = wasCalledBack || route.reason === "half_open" || opening.reply !== undefined;
    const failure = {
      reading: opening.reading,
      isFruitless: (pool: string) => router.health(pool).isFruitless(clock()),
      calledBack: wasCalledBack,
      retryAfterMs: opening.retryAfterMs,
      because: configurationFault(route, opening),
      final: this.#final(opening.reading.result, clock() - beganMs, wasEnded),
    };
    return { opening, next: attempts.failed(failure, clock()) };
  }

  /** This attempt's part of a deadline that the caller declared: half if it may be left for another. */
  #partMs(leftMs: number, attempts: Attempts): number | undefined {
    if (this.#call.deadlineMs === undefined) return undefined;
    const isDivided = !isCostly(this.#call) && attempts.mayLeave();
    return isDivided ? Math.max(1, Math.floor(leftMs / 2)) : leftMs;
  }

  /** Why the request must not be sent again, as it may be under way still, and billed. */
  #final(result: ResultClass, waitedMs: number, wasEnded: boolean): Why | undefined {
    const isDear = isCostly(this.#call) || (!this.#call.isStream && waitedMs > COSTLY_AFTER_MS);
    return isDear && !this.#resending.may(result, waitedMs, wasEnded) ? "may_be_billed" : undefined;
  }

  #waiting(route: Route, leftMs: number, partMs: number | undefined): Waiting {
    const { settings, usual } = this.#tools;
    const { target } = route;
    const { isStream, outputTokensMax } = this.#call;
    const usualMs = usual.usualMs(target.pool, target.model, isStream);
    const attempted = { settings: settings(), offer: target.offer, usualMs, leftMs, partMs };
    const waiting = isStream
      ? waitingForStream(attempted)
      : waitingForWhole(attempted, outputTokensMax, isCostly(this.#call));
    if (route.reason !== "half_open") return waiting;
    return waitingForTrial(waiting, settings(), usual.latelyMs(target.pool, target.model, isStream));
  }

  async #send(
    route: Route, leftMs: number, partMs: number | undefined,
  ): Promise<{ opening: Opening; wasCalledBack: boolean }> {
    const { flights, clock, credentials } = this.#tools;
    const { target } = route;
    const waiting = this.#waiting(route, leftMs, partMs);
    const flight = flights.begin(target.pool, clock());
    const patience = new Patience(this.#call.signal);
    callable(flight, patience);
    const wait = () => patience.wait(Math.min(waiting.silenceMs, flight.beganMs + waiting.wholeMs - clock()));
    const once = () => attempt(this.#tools, this.#call, target, this.#requestId, patience, wait);
    wait();
    let opening = await once().catch((error: unknown) => this.#leave(flight, patience, error));
    const { blame, again } = opening.reading;
    if (opening.wasToken && blame === "account" && again && !this.#hasRenewed) {
      this.#hasRenewed = true; // the token may only be an old one: renewed once, at no attempt's cost
      credentials.refused(target.credential);
      opening = await once().catch((error: unknown) => this.#leave(flight, patience, error));
    }
    patience.pause();
    flight.callBack = undefined;
    if (opening.reading.result === "ok") this.#learn(route, opening);
    if (opening.rest !== undefined && opening.reply !== undefined) {
      const body = this.#relay(route, opening.rest, flight, patience);
      return { opening: { ...opening, reply: { ...opening.reply, body } }, wasCalledBack: false };
    }
    flights.end(flight);
    patience.end();
    if (opening.wasToken && opening.reading.blame === "account") credentials.refused(target.credential);
    this.#reportUnlessImpatient(route, opening, waiting, clock() - flight.beganMs, patience);
    return { opening, wasCalledBack: patience.wasCalledBack };
  }

  #leave(flight: Flight, patience: Patience, error: unknown): never {
    this.#tools.flights.end(flight);
    patience.end();
    throw error;
  }

  #learn({ target, reason }: Route, { answerId }: Opening): void {
    const { router, holders } = this.#tools;
    if (reason === "failover" || reason === "last_resort") router.tookOver(target.pool);
    const { refers, keeps } = this.#call;
    holders.learn(keeps && answerId ? [...refers, answerId] : refers, target.pool);
  }

  /** A caller's own short deadline says nothing about a pool that served others meanwhile. */
  #reportUnlessImpatient(
    route: Route, opening: Opening, waiting: Waiting, tookMs: number, patience: Patience,
  ): void {
    const { router, usual, clock } = this.#tools;
    const { target } = route;
    const isShort = opening.reading.result === "timeout" && waiting.silenceMs < waiting.ownMs;
    const servedMs = router.health(target.pool).lastSuccessMs;
    const hasServed = servedMs !== undefined && servedMs >= clock() - tookMs;
    const isHang = usual.isHang(target.pool, target.model, this.#call.isStream, tookMs);
    if (isShort && !patience.wasCalledBack && hasServed && !isHang) router.unanswered(target.pool);
    else this.#report(route, opening, tookMs);
  }

  /** How an attempt ended whose answer came whole, or not at all. */
  #report({ target }: Route, opening: Opening, tookMs: number): void {
    const { estimator, usual } = this.#tools;
    const { result, blame } = opening.reading;
    const { method, path, bodyBytes, outputTokensMax } = this.#call;
    let units = 0;
    if (result === "ok") {
      units = opening.usage === undefined ? estimator.expect(bodyBytes, outputTokensMax) : 0;
      if (opening.usage !== undefined) units = estimator.took(bodyBytes, opening.usage, 0);
      usual.learn(target.pool, target.model, false, tookMs);
    }
    const isRefused = blame === "request" && this.#call.refers.length === 0;
    const subject = isRefused ? crc32(`${method} ${path} ${bodyBytes} ${this.#requestId}`) : 0;
    this.#record(target.pool, target.model, { result, blame, units, retryAfterMs: opening.retryAfterMs, subject });
  }

  #relay(
    { target }: Route, rest: Parameters<typeof relayed>[0], flight: Flight, patience: Patience,
  ): ReadableStream<Uint8Array> {
    const { clock, flights, router, usual, estimator, settings } = this.#tools;
    const firstMs = clock();
    const { reader } = rest;
    router.alive(target.pool);
    return relayed(rest, patience, idleMs(settings(), target.offer), (result) => {
      flights.end(flight);
      const events = reader?.events ?? 0;
      const units = estimator.took(this.#call.bodyBytes, reader?.usage, events);
      const firstTokenMs = reader === undefined ? undefined : firstMs - flight.beganMs;
      const perTokenMs = reader !== undefined && events > 2 ? (clock() - firstMs) / (events - 1) : undefined;
      if (result === "ok" && firstTokenMs !== undefined) {
        usual.learn(target.pool, target.model, true, firstTokenMs);
      }
      this.#record(target.pool, target.model, { result, units, firstTokenMs, perTokenMs });
    });
  }

  #record(pool: string, model: string, outcome: Outcome): void {
    this.#tools.router.record({ pool, model, ...outcome });
    this.#tools.window.observe(pool, outcome);
  }

  /** Waits, unless a thousand other requests wait already: those would all come at once. */
  async #wait(waitMs: number): Promise<void> {
    const tools = this.#tools;
    if (tools.waiting >= WAITING_MAX) return;
    tools.waiting++;
    try {
      await pause(waitMs, this.#call.signal);
    } finally {
      tools.waiting--;
    }
  }
}

/** How one attempt ended, for the router and the reports. */
export interface Outcome {
  readonly result: ResultClass;
  readonly units?: number;
  readonly blame?: Blame | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly subject?: number | undefined;
  readonly firstTokenMs?: number | undefined;
  readonly perTokenMs?: number | undefined;
}

function replyIn({ reply, text }: Opening): Reply {
  if (reply === undefined) throw new Error(`a good answer without a reply: ${text}`);
  return reply;
}

/** Waits so long; throws when the caller goes away. */
function pause(waitMs: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(done, waitMs);
    function done(): void {
      signal?.removeEventListener("abort", left);
      resolve();
    }
    function left(): void {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    }
    if (signal?.aborted) left();
    else signal?.addEventListener("abort", left, { once: true });
  });
}
