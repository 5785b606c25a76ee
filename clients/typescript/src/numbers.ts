/** Arithmetic that must come out as in the other clients. */

/** The whole number next to `value`; of two that are equally near, the even one. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** The first place in the sorted numbers whose number is larger than `value`. */
export function bisectRight(sorted: readonly number[], value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (value < sorted[middle]) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Where each of these lengths ends when they are laid end to end. */
export function edgesOf(lengths: readonly number[]): number[] {
  let reached = 0;
  return lengths.map((length) => (reached += length));
}

/** The greatest common divisor. */
export function gcd(left: number, right: number): number {
  while (right !== 0) [left, right] = [right, left % right];
  return left;
}
