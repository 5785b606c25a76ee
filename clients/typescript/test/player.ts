/** Plays the steps of a conformance case; docs/write-a-client.md describes them. */

import { type Reading, readingOfResult } from "../src/answers.ts";
import { Backoff } from "../src/backoff.ts";
import { RetryBudget } from "../src/budget.ts";
import type { Blame, ResultClass, Route, Shed } from "../src/outcome.ts";
import { type Action, Attempts } from "../src/retry-rule.ts";
import { Router } from "../src/router.ts";
import { decodeTable } from "../src/table.ts";

export type Json = Record<string, any>;

/** One client's decisions in one world. `chances` stand for chance, used in turn. */
export class Player {
  #nowMs = 0;
  readonly #chance: () => number;
  readonly #router: Router;
  readonly #budget = new RetryBudget();
  readonly #machines = new Map<number, Attempts>();
  readonly #routes = new Map<number, Route>();

  constructor({ chances, origin, phase, table }: Json) {
    let uses = 0;
    this.#chance = () => chances[uses++ % chances.length];
    this.#router = new Router({ workload: "chat", origin, phase, clock: () => this.#nowMs, chance: this.#chance });
    this.#router.apply(decodeTable(table));
  }

  /** What the step gives. */
  play(step: Json): unknown {
    this.#nowMs = step.at_ms;
    this.#router.tick(this.#nowMs);
    switch (step.do) {
      case "pick":
        return this.#pick(step);
      case "ended":
        this.#router.record({ ...endingOf(step), pool: step.pool, model: step.model });
        return this.#state();
      case "alive":
        this.#router.alive(step.pool);
        return this.#state();
      case "table":
        this.#router.apply(decodeTable(step.table));
        return this.#state();
      case "begin":
        return this.#begin(step);
      case "failed":
        return this.#failed(step);
      case "served":
        return this.#served(step);
      case "resume":
        return this.#ordered(step, this.#machine(step).resume(this.#nowMs));
      default:
        throw new Error(`no step ${step.do}`);
    }
  }

  #pick({ model, session, needs, exclude = [] }: Json): Json {
    const needed = needs && { contextTokens: needs.context_tokens, features: needs.features };
    return told(this.#router.choose({ model, session: session ?? undefined, needs: needed, exclude: new Set(exclude) }));
  }

  #begin(step: Json): Json {
    const backoff = new Backoff(1, 8, this.#chance);
    const wish = {
      model: step.model,
      deadlineMs: this.#nowMs + step.deadline_ms,
      attemptsMax: step.attempts_max ?? 3,
      session: step.session,
      bound: step.bound,
      seeks: step.seeks,
    };
    const machine = new Attempts(wish, this.#router, this.#budget, () => Math.floor(backoff.nextS() * 1_000));
    this.#machines.set(step.request, machine);
    return this.#ordered(step, machine.begin(this.#nowMs));
  }

  #failed(step: Json): Json {
    const [result, blame, elsewhere, again, topic] = step.reading;
    const reading: Reading = { result, blame, elsewhere, again, ...(topic && { topic }) };
    const { target } = this.#route(step);
    const retryAfterMs: number | undefined = step.retry_after_ms;
    this.#router.record({ pool: target.pool, model: target.model, result, blame, retryAfterMs });
    const isFruitless = (pool: string) => this.#router.health(pool).isFruitless(this.#nowMs);
    const failure = { reading, isFruitless, calledBack: step.called_back ?? false, retryAfterMs };
    return this.#ordered(step, this.#machine(step).failed(failure, this.#nowMs));
  }

  #served(step: Json): Json {
    const { target, reason } = this.#route(step);
    if (reason === "failover" || reason === "last_resort") this.#router.tookOver(target.pool);
    const { result, blame } = readingOfResult("ok");
    this.#router.record({ pool: target.pool, model: target.model, result, blame });
    return this.#state();
  }

  #ordered(step: Json, action: Action): Json {
    switch (action.kind) {
      case "send":
        this.#routes.set(step.request, action.route);
        return { send: told(action.route), left_ms: action.leftMs, may_leave: this.#machine(step).mayLeave() };
      case "wait":
        return { wait_ms: action.waitMs };
      case "give_up":
        return { give_up: action.why, reason: action.shed?.reason ?? null };
      case "refuse":
        return { refuse: action.shed.reason, retry_after_ms: action.shed.retryAfterMs ?? null };
    }
  }

  #machine({ request }: Json): Attempts {
    const machine = this.#machines.get(request);
    if (machine === undefined) throw new Error(`no request ${request}`);
    return machine;
  }

  #route({ request }: Json): Route {
    const route = this.#routes.get(request);
    if (route === undefined) throw new Error(`request ${request} was not sent`);
    return route;
  }

  /** Pools that this client keeps away from, wholly or in part. */
  #state(): Json {
    const rows = this.#router.explain();
    const pools = rows
      .filter((row) => row.out !== null || row.keptBack !== 0 || Object.keys(row.modelsOut).length > 0)
      .map((row) => {
        const { pool, out, outForMs, keptBack, modelsOut } = row;
        return [pool, { out, for_ms: outForMs, kept_back: keptBack, models: modelsOut }];
      });
    return { split: rows[0]?.split ?? null, pools: Object.fromEntries(pools) };
  }
}

function endingOf(step: Json): { result: ResultClass; blame?: Blame; retryAfterMs?: number; subject?: number } {
  return { result: step.result, blame: step.blame, retryAfterMs: step.retry_after_ms, subject: step.subject };
}

function told(choice: Route | Shed): Json {
  if (choice.kind === "route") {
    return { pool: choice.target.pool, reason: choice.reason, name: choice.target.name };
  }
  const fallbacks = choice.fallbacks.map(({ target, reason }) => [target.pool, reason]);
  return { shed: choice.reason, retry_after_ms: choice.retryAfterMs ?? null, fallbacks };
}
