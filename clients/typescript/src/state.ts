/** Which pool holds what: responses, files, threads and the like live at the provider that made them. A request
 * that names one goes back there, or to a pool that shares its endpoint and credential. */

const IDS_MAX = 10_000;

export class Holders {
  readonly #pools = new Map<string, string>();

  /** The pool holds these from now on. */
  learn(ids: readonly string[], pool: string): void {
    for (const id of ids) {
      this.#pools.delete(id);
      this.#pools.set(id, pool);
    }
    for (const id of this.#pools.keys()) {
      if (this.#pools.size <= IDS_MAX) break;
      this.#pools.delete(id);
    }
  }

  /** The pool that holds the first of these that is known here. */
  poolOf(ids: readonly string[]): string | undefined {
    return ids.map((id) => this.#pools.get(id)).find((pool) => pool !== undefined);
  }
}
