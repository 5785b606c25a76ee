/**
 * One compiled choice: weights over targets, ready to be picked from.
 *
 * Weights are laid end to end on a line, and a point walks along it by the golden ratio. After as many picks
 * as the line is long, every target was picked exactly as often as its weight says. docs/write-a-client.md
 * has the rule with its numbers.
 */

import { Affinity } from "./affinity.ts";
import { crc32 } from "./hashes.ts";
import { bisectRight, edgesOf, gcd, roundHalfEven } from "./numbers.ts";
import { type Reason, type Route, type Shed, type Target, shedBecause } from "./outcome.ts";
import { MILLION } from "./table.ts";

export const LEVELS = 16;
const GOLDEN = 0.6180339887498949;

export interface ChoiceOptions {
  readonly shed: Shed;
  readonly phase: number; // in [0, 1): where the walk begins
  readonly shedPpm?: number;
  readonly reason?: Reason;
  readonly affinity?: Affinity; // it may know more pools: those are out
  readonly keptBack?: ReadonlyMap<string, number>; // shares of what is meant for a pool that go elsewhere
}

export class Choice {
  readonly shed: Shed;
  #rows: { route: Route; weight: number }[];
  #results: (Route | Shed)[];
  #edges: number[];
  #span: number;
  #step: number;
  #at: number;
  #retryPhase: number;
  #keptBackPhase: number;
  #keptBack: ReadonlyMap<string, number>;
  #affinity: Affinity;
  #byPool: Map<string, Route> | undefined;
  #sheds: boolean;
  #offered = 0;
  #turnedAway = 0;

  constructor(targets: readonly (readonly [Target, number])[], options: ChoiceOptions) {
    const { shed, phase, shedPpm = 0, reason = "weighted", keptBack = new Map() } = options;
    this.shed = shed;
    this.#keptBack = keptBack;
    this.#keptBackPhase = this.#retryPhase = phase;
    this.#rows = targets
      .filter(([, weight]) => weight > 0)
      .map(([target, weight]) => ({
        route: { kind: "route", target, reason },
        weight: keptBack.size > 0 ? this.#weightSent(target.pool, weight) : weight,
      }));
    this.#results = this.#rows.map(({ route }) => route);
    let weights = this.#rows.map(({ weight }) => weight);
    if (this.isEmpty) {
      this.#results = [shed];
      weights = [1];
    } else if (shedPpm > 0) {
      this.#results.push(shed);
      weights = withShed(weights, shedPpm);
    }
    this.#edges = edgesOf(weights);
    this.#span = this.#edges[this.#edges.length - 1];
    this.#step = coprimeStep(this.#span);
    this.#at = Math.floor(phase * this.#span) % this.#span;
    this.#sheds = shedPpm > 0 || this.isEmpty;
    this.#affinity =
      options.affinity ?? new Affinity(this.#rows.map(({ route, weight }) => [route.target.pool, weight]));
  }

  /** Whether no target is left. */
  get isEmpty(): boolean {
    return this.#rows.length === 0;
  }

  /** Where the walk stands, so that the next choice goes on from there. */
  get phase(): number {
    return this.#at / this.#span;
  }

  /** The next result by weight. */
  next(): Route | Shed {
    let at = this.#at + this.#step;
    if (at >= this.#span) at -= this.#span;
    this.#at = at;
    const result = this.#results[bisectRight(this.#edges, at)];
    this.#offered++;
    if (result.kind === "shed") this.#turnedAway++;
    return result;
  }

  /** The session's own target while that is in. What the table sheds is shed whoever asks. */
  forSession(session: string): Route | Shed {
    if (this.#sheds) {
      const result = this.next();
      if (result.kind === "shed") return result;
    } else {
      this.#offered++;
    }
    this.#byPool ??= new Map(
      this.#rows.map(({ route: { target } }) => [target.pool, { kind: "route", target, reason: "affinity" }]),
    );
    const point = crc32(session);
    const owner = this.#affinity.soleOwner(point);
    const route =
      (owner === undefined ? undefined : this.#byPool.get(owner)) ??
      this.#affinity.follow(point, this.#byPool) ??
      this.#byWeight(new Set());
    return this.#spared(route);
  }

  /** A target by weight that is not among `exclude`: a retry, which is neither counted nor shed. */
  excluding(exclude: ReadonlySet<string>): Route | Shed {
    return this.#byWeight(exclude);
  }

  /** (picks, those of them that were shed) since the last call. */
  takeCounts(): [number, number] {
    const counts: [number, number] = [this.#offered, this.#turnedAway];
    this.#offered = this.#turnedAway = 0;
    return counts;
  }

  /** A session's request goes elsewhere for once when its pool is sent less than it is meant to get. */
  #spared(route: Route | Shed): Route | Shed {
    const share = route.kind === "route" ? (this.#keptBack.get(route.target.pool) ?? 0) : 0;
    if (share === 0) return route;
    this.#keptBackPhase = (this.#keptBackPhase + GOLDEN) % 1;
    return this.#keptBackPhase >= share ? route : this.#byWeight(new Set());
  }

  #byWeight(exclude: ReadonlySet<string>): Route | Shed {
    const rows = this.#rows.filter(({ route }) => !exclude.has(route.target.pool));
    if (rows.length === 0) {
      const { text, retryAfterMs, why } = this.shed;
      return shedBecause("no_pool", text, { retryAfterMs, why });
    }
    const edges = edgesOf(rows.map(({ weight }) => weight));
    this.#retryPhase = (this.#retryPhase + GOLDEN) % 1; // a walk of its own: retries are rare
    const place = bisectRight(edges, Math.floor(this.#retryPhase * edges[edges.length - 1]));
    return { kind: "route", target: rows[place].route.target, reason: "failover" };
  }

  #weightSent(pool: string, weight: number): number {
    return Math.max(1, roundHalfEven(weight * LEVELS * (1 - (this.#keptBack.get(pool) ?? 0))));
  }
}

/** Weights and, last, the part to shed: pools that are out leave the shed share as it is. */
function withShed(weights: readonly number[], shedPpm: number): number[] {
  const parts = weights.map((weight) => weight * (MILLION - shedPpm));
  parts.push(weights.reduce((sum, weight) => sum + weight, 0) * shedPpm);
  const common = parts.reduce(gcd, 0);
  return parts.map((part) => part / common);
}

/** A step near the golden ratio of the line that meets every point of it before any twice. */
function coprimeStep(span: number): number {
  let step = Math.max(1, Math.floor(span * GOLDEN));
  while (gcd(step, span) !== 1) step++;
  return step;
}
