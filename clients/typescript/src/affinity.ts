/**
 * Sessions onto pools, so that prompt caches stay warm: a Maglev table (Eisenbud et al., NSDI 2016) made
 * exact. docs/write-a-client.md states it step by step; every client maps a session alike.
 */

import { blake2b128 } from "./hashes.ts";
import { bisectRight, edgesOf } from "./numbers.ts";

const SLOTS = 8191; // prime, so that every skip walks all slots
const HOPS_MAX = 24;
const POINTS = 2n ** 61n - 1n;
const MIX = 0x9e3779b97f4a7c15n;
const WORD_BITS = 64n;

/** Pools with their weights. */
export type Weights = readonly (readonly [pool: string, weight: number])[];

/** Slots of one set of pools and weights, compiled at their first use. */
export class Affinity {
  readonly weights: Weights;
  #owners: (string | number)[] | undefined;
  #total = 1;
  #names: string[] = [];
  #edges: number[] = [];

  constructor(weights: Weights) {
    this.weights = weights.filter(([, weight]) => weight > 0);
  }

  /** Slot -> pool, or the number of a slot that is divided; empty without pools. */
  get owners(): readonly (string | number)[] {
    return (this.#owners ??= this.#compile());
  }

  /** Whether these weights are those that the slots are compiled from, in the same order. */
  isFor(weights: Weights): boolean {
    return (
      weights.length === this.weights.length &&
      weights.every(([pool, weight], at) => pool === this.weights[at][0] && weight === this.weights[at][1])
    );
  }

  /** The value that `poolsIn` has for the first of its pools along the session's chain. */
  follow<T>(start: number, poolsIn: ReadonlyMap<string, T>): T | undefined {
    const owners = this.owners;
    if (owners.length === 0) return undefined;
    let point = BigInt(start);
    for (let hop = 0; hop < HOPS_MAX; hop++) {
      const value = poolsIn.get(this.#owner(owners, point));
      if (value !== undefined) return value;
      point = (point * 1664525n + 1013904223n) % POINTS;
    }
    return undefined;
  }

  /** The pool of a slot that belongs to one pool alone; undefined for a divided one. */
  soleOwner(point: number): string | undefined {
    const owner = this.owners[point % SLOTS];
    return typeof owner === "string" ? owner : undefined;
  }

  #owner(owners: readonly (string | number)[], point: bigint): string {
    const owner = owners[Number(point % BigInt(SLOTS))];
    if (typeof owner === "string") return owner;
    const mixed = BigInt.asUintN(64, point * MIX);
    const place = Number((mixed * BigInt(this.#total)) >> WORD_BITS);
    return this.#names[bisectRight(this.#edges, owner * this.#total + place)];
  }

  #compile(): (string | number)[] {
    const ordered = [...this.weights].sort(([left], [right]) => (left < right ? -1 : 1));
    if (ordered.length === 0) return [];
    const total = ordered.reduce((sum, [, weight]) => sum + weight, 0);
    const owners = this.#deal(ordered, total);
    const parts = ordered
      .map(([pool, weight]) => [pool, (weight * SLOTS) % total] as const)
      .filter(([, part]) => part > 0);
    this.#total = total;
    this.#names = parts.map(([pool]) => pool);
    this.#edges = edgesOf(parts.map(([, part]) => part));
    let free = 0;
    return owners.map((owner) => owner ?? free++);
  }

  /** Whole slots, dealt in proportion to the weights: each pool walks its own permutation of the slots. */
  #deal(ordered: Weights, total: number): (string | undefined)[] {
    const turns: [number, number][] = [];
    ordered.forEach(([, weight], index) => {
      const quota = Math.floor((weight * SLOTS) / total);
      for (let turn = 0; turn < quota; turn++) turns.push([(2 * turn + 1) / quota, index]);
    });
    turns.sort((left, right) => left[0] - right[0] || left[1] - right[1]);
    const walks = ordered.map(([pool]) => walkOf(pool));
    const owners: (string | undefined)[] = new Array(SLOTS).fill(undefined);
    for (const [, index] of turns) {
      const walk = walks[index];
      while (owners[walk.slot] !== undefined) walk.slot = (walk.slot + walk.skip) % SLOTS;
      owners[walk.slot] = ordered[index][0];
      walk.slot = (walk.slot + walk.skip) % SLOTS;
    }
    return owners;
  }
}

function walkOf(pool: string): { slot: number; skip: number } {
  const [first, second] = blake2b128(pool);
  return { slot: Number(first % BigInt(SLOTS)), skip: Number(second % BigInt(SLOTS - 1)) + 1 };
}
