/** The two hashes of the affinity: CRC-32 of a session, and BLAKE2b (RFC 7693) of a pool's name. */

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
const encoder = new TextEncoder();

/** CRC-32 of the UTF-8 bytes of the text, as zlib computes it. */
export function crc32(text: string): number {
  let crc = 0xffffffff;
  for (const byte of encoder.encode(text)) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

const WORD = (1n << 64n) - 1n;
const IV = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
];
const ROUNDS = 12;
const BLOCK_BYTES = 128;
const DIGEST_BYTES = 16;
const MIXED = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
  [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
];

/** The first two 64-bit numbers, big endian, of the 16 bytes of BLAKE2b of the text's UTF-8 bytes. */
export function blake2b128(text: string): [bigint, bigint] {
  const data = encoder.encode(text);
  const state = [...IV];
  state[0] ^= BigInt(0x01010000 ^ DIGEST_BYTES);
  const blocks = Math.max(1, Math.ceil(data.length / BLOCK_BYTES));
  for (let number = 0; number < blocks; number++) {
    const block = new Uint8Array(BLOCK_BYTES);
    block.set(data.subarray(number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES));
    const isLast = number === blocks - 1;
    compress(state, block, isLast ? data.length : (number + 1) * BLOCK_BYTES, isLast);
  }
  return [reversed(state[0]), reversed(state[1])];
}

function compress(state: bigint[], block: Uint8Array, count: number, isLast: boolean): void {
  const view = new DataView(block.buffer);
  const words = Array.from({ length: 16 }, (_, place) => view.getBigUint64(8 * place, true));
  const v = [...state, ...IV];
  v[12] ^= BigInt(count);
  if (isLast) v[14] ^= WORD;
  for (let round = 0; round < ROUNDS; round++) {
    const order = SIGMA[round % SIGMA.length];
    MIXED.forEach((places, step) => mix(v, places, words[order[2 * step]], words[order[2 * step + 1]]));
  }
  for (let place = 0; place < 8; place++) state[place] ^= v[place] ^ v[place + 8];
}

function mix(v: bigint[], [a, b, c, d]: number[], x: bigint, y: bigint): void {
  v[a] = (v[a] + v[b] + x) & WORD;
  v[d] = rotated(v[d] ^ v[a], 32n);
  v[c] = (v[c] + v[d]) & WORD;
  v[b] = rotated(v[b] ^ v[c], 24n);
  v[a] = (v[a] + v[b] + y) & WORD;
  v[d] = rotated(v[d] ^ v[a], 16n);
  v[c] = (v[c] + v[d]) & WORD;
  v[b] = rotated(v[b] ^ v[c], 63n);
}

function rotated(word: bigint, bits: bigint): bigint {
  return ((word >> bits) | (word << (64n - bits))) & WORD;
}

function reversed(word: bigint): bigint {
  const view = new DataView(new ArrayBuffer(8));
  view.setBigUint64(0, word, true);
  return view.getBigUint64(0, false);
}
