/** Counts over the last seconds, in constant memory: a ring of spans, cleared as they are used again. */
export class RecentCounts {
  readonly #bucketMs: number;
  #spans: number[];
  readonly #columns: number[][];

  constructor(columns: number, buckets: number, bucketMs: number) {
    this.#bucketMs = bucketMs;
    this.#spans = new Array(buckets).fill(-1);
    this.#columns = Array.from({ length: columns }, () => new Array(buckets).fill(0));
  }

  /** Count in the present span. */
  add(column: number, nowMs: number, amount = 1): void {
    const span = Math.floor(nowMs / this.#bucketMs);
    const place = span % this.#spans.length;
    if (this.#spans[place] !== span) {
      this.#spans[place] = span;
      for (const counts of this.#columns) counts[place] = 0;
    }
    this.#columns[column][place] += amount;
  }

  /** The sum of each column over the spans that end now. */
  sums(nowMs: number): number[] {
    const newest = Math.floor(nowMs / this.#bucketMs);
    const oldest = Math.max(0, newest - this.#spans.length + 1);
    return this.#columns.map((counts) =>
      this.#spans.reduce((sum, span, place) => (oldest <= span && span <= newest ? sum + counts[place] : sum), 0),
    );
  }

  /** Forget everything. */
  clear(): void {
    this.#spans = this.#spans.map(() => -1);
  }
}
