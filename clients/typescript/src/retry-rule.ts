/**
 * One request as a machine without side effects: how an attempt ended goes in, what to do next comes out.
 *
 *     begin() -> send | wait | refuse
 *     send -> the attempt failed -> failed(reading) -> send | wait | give_up
 *     wait -> the time has passed -> resume() -> send | wait | give_up | refuse
 *
 * At most three attempts, one deadline over all of them, one retry loop only. Leaving a pool that still
 * succeeds takes a token of the retry budget; leaving one that does not is free, but goes at the pace of the
 * pool that takes over. Times are monotonic milliseconds.
 */

import type { Reading } from "./answers.ts";
import type { RetryBudget, Turn } from "./budget.ts";
import type { Question } from "./chooser.ts";
import type { Needs, Reason, Route, Shed } from "./outcome.ts";

const WAIT_MAX_MS = 30_000;
const NO_EXCLUSION: ReadonlySet<string> = new Set([""]); // no pool, but this is no first attempt

/** Why a request ends with the failure it last met. */
export type Why =
  | "caller" | "provider" | "may_be_billed" | "attempts" | "deadline" | "retry_budget" | "bound" | "no_other_pool";

export type Action =
  | { readonly kind: "send"; readonly route: Route; readonly leftMs: number }
  | { readonly kind: "wait"; readonly waitMs: number }
  | { readonly kind: "give_up"; readonly why: Why; readonly shed: Shed | undefined }
  | { readonly kind: "refuse"; readonly shed: Shed };

/** What the caller asked for. `deadlineMs`: an instant. `bound`: it refers to what one pool holds. `seeks`:
 * it is not known which pool that is. */
export interface Wish {
  readonly model: string;
  readonly deadlineMs: number;
  readonly attemptsMax: number;
  readonly session?: string | undefined;
  readonly needs?: Needs | undefined;
  readonly origin?: string | undefined;
  readonly bound?: boolean;
  readonly seeks?: boolean;
}

/** Where attempts go, and when a pool takes one more; a `Router` is both. */
export interface Routing {
  choose(question: Question): Route | Shed;
  reserve(pool: string, nowMs: number, waitMaxMs: number): Turn | undefined;
  look(turn: Turn, nowMs: number): number;
}

/** What follows from how an attempt ended. `final`: why there must be no other one. */
export interface Failure {
  readonly reading: Reading;
  readonly isFruitless: (pool: string) => boolean;
  readonly calledBack?: boolean;
  readonly retryAfterMs?: number | undefined;
  readonly because?: string;
  readonly final?: Why | undefined;
}

export class Attempts {
  count = 0;
  readonly endings = new Map<string, string>(); // pool -> how its last attempt ended, in words
  readonly #wish: Wish;
  readonly #routing: Routing;
  readonly #budget: RetryBudget;
  readonly #nextWaitMs: () => number;
  #needs: Needs | undefined;
  #tried: string[] = [];
  readonly #spent = new Set<string>(); // pools that would answer this request no differently
  readonly #notBeforeMs = new Map<string, number>(); // what each asked for by Retry-After
  #reason: Reason = "weighted";
  #contextTokens = 0; // of the last attempt's route; 0: the table does not say
  #turn: Turn | undefined;
  #turnUntilMs = 0;
  #hasWaited = false; // for a Retry-After: once a request
  #isInLine = false; // others wait for the same Retry-After

  constructor(wish: Wish, routing: Routing, budget: RetryBudget, nextWaitMs: () => number) {
    this.#wish = wish;
    this.#routing = routing;
    this.#budget = budget;
    this.#nextWaitMs = nextWaitMs;
    this.#needs = wish.needs;
  }

  /** The first action. */
  begin(nowMs: number): Action {
    this.#budget.request(nowMs);
    const choice = this.#chooseFirst();
    if (choice.kind === "route") return this.#send(choice, nowMs);
    const action = this.#fallBack(choice, nowMs) ?? this.#wait(choice.retryAfterMs, nowMs);
    return action ?? { kind: "refuse", shed: this.#explained(choice) };
  }

  /** The action after a wait. What was decided before it is decided anew: a pool may be back. */
  resume(nowMs: number): Action {
    const hasTried = this.#tried.length > 0;
    if (this.#turn !== undefined) {
      const waitMs = this.#routing.look(this.#turn, nowMs);
      if (waitMs > 0) {
        if (nowMs + waitMs < this.#turnUntilMs) return { kind: "wait", waitMs };
        if (hasTried && !this.#hasWaited) return giveUp("retry_budget");
      }
    }
    const moves = !this.#wish.bound && (hasTried || this.#turn !== undefined);
    const choice = moves
      ? this.#chooseOther(hasTried ? new Set(this.#tried) : NO_EXCLUSION)
      : this.#chooseFirst();
    if (choice.kind === "route") return this.#sendInTurn(choice, nowMs);
    const action = this.#fallBack(choice, nowMs);
    if (action !== undefined) return action;
    const again = moves && hasTried ? this.#chooseAgain() : choice;
    if (again.kind === "route") return this.#sendInTurn(again, nowMs);
    const shed = this.#explained(choice);
    return hasTried ? giveUp("no_other_pool", shed) : { kind: "refuse", shed };
  }

  /** The action after the last attempt failed, with nothing handed to the caller. */
  failed(failure: Failure, nowMs: number): Action {
    const { reading, isFruitless, calledBack = false, retryAfterMs, final } = failure;
    this.#note(failure, nowMs);
    if (final !== undefined) return giveUp(final);
    const end = this.#end(reading, retryAfterMs, nowMs);
    if (end !== undefined) return end;
    // A pool that turns a request away has not worked on it: moving it multiplies nothing.
    const isUnworked = reading.result === "throttled" || this.#seeksOn(reading);
    const isFree = calledBack || isUnworked || isFruitless(this.#last);
    const choice = this.#chooseOther(new Set(this.#tried));
    if (choice.kind === "route") {
      return this.#retry(choice, nowMs, isFree && !isFruitless(choice.target.pool));
    }
    const again = this.#chooseAgain();
    // One that still serves is tried again before a wait for the last resort, but not in the end.
    const mayWait = again.kind === "shed" || isFruitless(again.target.pool) || this.#isLastAttempt;
    const action = this.#fallBackFrom(choice, nowMs, isFree, !mayWait);
    if (action !== undefined) return action;
    if (again.kind === "route") return this.#askAgain(again.target.pool, nowMs);
    const wait = reading.result === "throttled" ? this.#wait(choice.retryAfterMs, nowMs) : undefined;
    return wait ?? giveUp(reading.blame === "caller" ? "caller" : "no_other_pool", this.#explained(choice));
  }

  /** Whether this request may go to another pool if the attempt under way fails. */
  mayLeave(): boolean {
    if (this.#wish.bound || this.count >= this.#wish.attemptsMax) return false;
    const choice = this.#chooseOther(new Set(this.#tried));
    return choice.kind === "route" || choice.fallbacks.length > 0;
  }

  /** What forbids another pool, whichever pools there are. */
  #end(reading: Reading, retryAfterMs: number | undefined, nowMs: number): Action | undefined {
    if (!reading.elsewhere && !reading.again) return giveUp(reading.blame === "caller" ? "caller" : "provider");
    if (reading.topic === "context" && !this.#askForMoreContext()) return giveUp("caller");
    if (this.count >= this.#wish.attemptsMax) return giveUp(this.#wish.bound ? "bound" : "attempts");
    if (nowMs >= this.#wish.deadlineMs) return giveUp("deadline");
    if (this.#wish.bound && !this.#seeksOn(reading)) return this.#endOfBound(reading, retryAfterMs, nowMs);
    return undefined;
  }

  /** Whether the request looks for what one pool holds, and this one does not have it. */
  #seeksOn(reading: Reading): boolean {
    return this.#wish.seeks === true && reading.blame === "request";
  }

  /** There is only the one pool. It is asked again, unless what it was asked may be under way there. */
  #endOfBound(reading: Reading, retryAfterMs: number | undefined, nowMs: number): Action {
    if (reading.result === "throttled") return this.#wait(retryAfterMs, nowMs) ?? giveUp("bound");
    const mayBeUnderWay = reading.result === "timeout" || reading.result === "cut";
    return reading.again && !mayBeUnderWay ? this.#askAgain(this.#last, nowMs) : giveUp("bound");
  }

  /** Wait a little before a pool that has failed this request is asked again: for a token. */
  #askAgain(pool: string, nowMs: number): Action {
    const waitMs = Math.max(this.#nextWaitMs(), (this.#notBeforeMs.get(pool) ?? 0) - nowMs);
    if (waitMs >= this.#roomMs(nowMs)) return giveUp(waitMs <= WAIT_MAX_MS ? "deadline" : "no_other_pool");
    this.#isInLine = this.#notBeforeMs.has(pool);
    return this.#budget.take(nowMs) ? { kind: "wait", waitMs } : giveUp("retry_budget");
  }

  /** From now on only pools with a longer context than the last one's are asked. */
  #askForMoreContext(): boolean {
    if (this.#contextTokens === 0) return false;
    this.#needs = { features: this.#needs?.features ?? [], contextTokens: this.#contextTokens + 1 };
    return true;
  }

  /** For no token if the pool has room now, else for a token, else at the pool's pace. */
  #retry(route: Route, nowMs: number, isFree: boolean): Action {
    const hasRoom = isFree && this.#routing.reserve(route.target.pool, nowMs, 1) !== undefined;
    if (hasRoom || this.#budget.take(nowMs)) return this.#send(route, nowMs);
    return (isFree ? this.#waitForTurn(route, nowMs) : undefined) ?? giveUp("retry_budget");
  }

  /** Of those who waited for the same Retry-After only as many go at once as the pool has room for. */
  #sendInTurn(route: Route, nowMs: number): Action {
    if (!this.#isInLine || this.#routing.reserve(route.target.pool, nowMs, 1) !== undefined) {
      return this.#send(route, nowMs);
    }
    this.#isInLine = false;
    return this.#waitForTurn(route, nowMs) ?? this.#send(route, nowMs);
  }

  /** A place in the line before the pool, if its turn comes in time. */
  #waitForTurn(route: Route, nowMs: number): Action | undefined {
    const roomMs = this.#roomMs(nowMs);
    const turn = this.#routing.reserve(route.target.pool, nowMs, roomMs);
    if (turn === undefined) return undefined;
    this.#turn = turn;
    this.#turnUntilMs = nowMs + roomMs;
    return { kind: "wait", waitMs: Math.max(1, turn.waitMs) };
  }

  get #last(): string {
    return this.#tried[this.#tried.length - 1];
  }

  get #isLastAttempt(): boolean {
    return this.count + 1 === this.#wish.attemptsMax;
  }

  #chooseFirst(): Route | Shed {
    const { model, session, origin } = this.#wish;
    return this.#routing.choose({ model, session, needs: this.#needs, origin });
  }

  #chooseOther(exclude: ReadonlySet<string>): Route | Shed {
    const { model, origin } = this.#wish;
    return this.#routing.choose({ model, needs: this.#needs, origin, exclude });
  }

  /** A pool that was tried and may answer differently, but not the one that has just failed, unless it is the
   * only one. */
  #chooseAgain(): Route | Shed {
    const choice = this.#chooseOther(new Set([...this.#spent, this.#last]));
    if (choice.kind === "route") return choice;
    return this.#chooseOther(this.#spent.size > 0 ? this.#spent : NO_EXCLUSION);
  }

  /** The table's fallbacks: the first of them that has room now, else the first that has in time. */
  #fallBack(shed: Shed, nowMs: number, atOnce = false): Action | undefined {
    const turn = this.#turn;
    this.#turn = undefined;
    if (this.#wish.bound) return undefined;
    let roomMs = this.#roomMs(nowMs);
    if (shed.retryAfterMs !== undefined && !this.#hasWaited) roomMs = Math.min(roomMs, shed.retryAfterMs);
    for (const route of shed.fallbacks) {
      if (turn !== undefined && route.target.pool === turn.pool) return this.#send(route, nowMs);
    }
    for (const waitMaxMs of atOnce ? [1] : [1, roomMs]) {
      for (const route of shed.fallbacks) {
        const place = this.#routing.reserve(route.target.pool, nowMs, waitMaxMs);
        if (place === undefined) continue;
        if (place.waitMs === 0) return this.#send(route, nowMs);
        this.#turn = place;
        this.#turnUntilMs = nowMs + waitMaxMs;
        return { kind: "wait", waitMs: place.waitMs };
      }
    }
    return undefined;
  }

  /** The same as a retry: for a token, unless it leaves a pool that has had no success. */
  #fallBackFrom(shed: Shed, nowMs: number, isFree: boolean, atOnce: boolean): Action | undefined {
    if (!isFree && this.#budget.left(nowMs) < 1) return undefined;
    const action = this.#fallBack(shed, nowMs, atOnce);
    if (action !== undefined && !isFree) this.#budget.take(nowMs);
    return action;
  }

  #note({ reading, because, retryAfterMs }: Failure, nowMs: number): void {
    const pool = this.#last;
    if (!reading.again) this.#spent.add(pool);
    if (retryAfterMs !== undefined) this.#notBeforeMs.set(pool, nowMs + retryAfterMs);
    const ending = because ? `${reading.result}, ${because}` : reading.result;
    this.endings.set(pool, `${pool}: ${ending}${this.#reason === "last_resort" ? " (last resort)" : ""}`);
  }

  /** The same with how each attempt ended, and which fallback has no room in time. */
  #explained(shed: Shed): Shed {
    const why = new Map(shed.why.map((line) => [line.slice(0, line.indexOf(": ")), line]));
    for (const { target } of shed.fallbacks) why.set(target.pool, `${target.pool}: no room in time`);
    for (const [pool, ending] of this.endings) why.set(pool, ending);
    return { ...shed, why: [...why.values()] };
  }

  #send(route: Route, nowMs: number): Action {
    this.count++;
    this.#turn = undefined;
    this.#isInLine = false;
    this.#tried.push(route.target.pool);
    this.#reason = route.reason;
    this.#contextTokens = route.target.offer?.contextTokens ?? 0;
    return { kind: "send", route, leftMs: Math.max(1, this.#wish.deadlineMs - nowMs) };
  }

  /** For a Retry-After: once a request, and only if it fits. */
  #wait(waitMs: number | undefined, nowMs: number): Action | undefined {
    if (waitMs === undefined || this.#hasWaited || waitMs >= this.#roomMs(nowMs)) return undefined;
    this.#hasWaited = this.#isInLine = true;
    return { kind: "wait", waitMs: Math.max(1, waitMs) };
  }

  /** How long a wait may be, exclusive. */
  #roomMs(nowMs: number): number {
    return Math.min(WAIT_MAX_MS + 1, this.#wish.deadlineMs - nowMs);
  }
}

function giveUp(why: Why, shed?: Shed): Action {
  return { kind: "give_up", why, shed };
}
