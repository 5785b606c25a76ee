/** How long to wait before trying again, for everything here that tries again. */

/** A number from 0 to 1; tests pass their own. */
export type Chance = () => number;

/** Waits in seconds that double from `firstS` to `longestS`, each shortened by up to half at random. */
export class Backoff {
  #waitS: number;
  readonly #firstS: number;
  readonly #longestS: number;
  readonly #chance: Chance;

  constructor(firstS: number, longestS: number, chance: Chance = Math.random) {
    this.#waitS = this.#firstS = firstS;
    this.#longestS = longestS;
    this.#chance = chance;
  }

  /** The next wait; not shorter than what the other side asked for. */
  nextS(atLeastS = 0): number {
    const waitS = this.#waitS;
    this.#waitS = Math.min(2 * waitS, this.#longestS);
    return Math.max(atLeastS, waitS * (0.5 + 0.5 * this.#chance()));
  }

  /** Something succeeded: the next wait is the first one again. */
  reset(): void {
    this.#waitS = this.#firstS;
  }
}
