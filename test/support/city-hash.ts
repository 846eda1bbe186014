/** CityHash128 1.0.2 over blocks of 2 KiB: by this ClickHouse knows the files of a part. Slow, for small ones. */

const [K0, K1, K2, K3] = [0xc3a5c85c97cb3127n, 0xb492b66fbe98f273n, 0x9ae16a3b2f90404fn, 0xc949d7c7509e6557n];
const KMUL = 0x9ddfea08eb382d69n;
const BLOCK = 2048;

type Pair = readonly [low: bigint, high: bigint];

const u64 = (n: bigint) => BigInt.asUintN(64, n);
const shiftMix = (n: bigint) => n ^ (n >> 47n);
const rotate = (n: bigint, by: number) => (by === 0 ? n : (n >> BigInt(by)) | u64(n << BigInt(64 - by)));
const at = (bytes: Buffer, offset: number) => bytes.readBigUInt64LE(offset);

function of16(low: bigint, high: bigint): bigint {
  const a = shiftMix(u64((low ^ high) * KMUL));
  return u64(shiftMix(u64((high ^ a) * KMUL)) * KMUL);
}

function upTo16(bytes: Buffer): bigint {
  const length = bytes.length;
  const size = BigInt(length);
  if (length > 8) {
    const end = at(bytes, length - 8);
    return of16(at(bytes, 0), rotate(u64(end + size), length)) ^ end;
  }
  if (length >= 4) {
    return of16(u64(size + (BigInt(bytes.readUInt32LE(0)) << 3n)), BigInt(bytes.readUInt32LE(length - 4)));
  }
  if (length === 0) return K2;
  const y = BigInt(bytes[0]! + bytes[length >> 1]! * 256);
  const z = size + BigInt(bytes[length - 1]! * 4);
  return u64(shiftMix(u64(y * K2) ^ u64(z * K3)) * K2);
}

function ofShort(bytes: Buffer, [low, high]: Pair): Pair {
  const length = bytes.length;
  let [a, b, c, d] = [low, high, 0n, 0n];
  if (length <= 16) {
    a = u64(shiftMix(u64(a * K1)) * K1);
    c = u64(b * K1 + upTo16(bytes));
    d = shiftMix(u64(a + (length >= 8 ? at(bytes, 0) : c)));
  } else {
    c = of16(u64(at(bytes, length - 8) + K1), a);
    d = of16(u64(b + BigInt(length)), u64(c + at(bytes, length - 16)));
    a = u64(a + d);
    for (let from = 0; from < length - 16; from += 16) {
      a = u64((a ^ u64(shiftMix(u64(at(bytes, from) * K1)) * K1)) * K1);
      b ^= a;
      c = u64((c ^ u64(shiftMix(u64(at(bytes, from + 8) * K1)) * K1)) * K1);
      d ^= c;
    }
  }
  a = of16(a, c);
  b = of16(d, b);
  return [a ^ b, of16(b, a)];
}

function weak(bytes: Buffer, offset: number, seedA: bigint, seedB: bigint): Pair {
  const [w, x, y, z] = [at(bytes, offset), at(bytes, offset + 8), at(bytes, offset + 16), at(bytes, offset + 24)];
  const first = u64(seedA + w);
  const a = u64(first + x + y);
  const b = u64(rotate(u64(seedB + first + z), 21) + rotate(a, 44));
  return [u64(a + z), u64(b + first)];
}

function ofBlock(bytes: Buffer, seed: Pair): Pair {
  const length = bytes.length;
  if (length < 128) return ofShort(bytes, seed);
  let [x, y] = seed;
  let z = u64(BigInt(length) * K1);
  const v0 = u64(rotate(y ^ K1, 49) * K1 + at(bytes, 0));
  let v: Pair = [v0, u64(rotate(v0, 42) * K1 + at(bytes, 8))];
  let w: Pair = [u64(rotate(u64(y + z), 35) * K1 + x), u64(rotate(u64(x + at(bytes, 88)), 53) * K1)];
  let from = 0;
  for (; length - from >= 128; from += 128) {
    for (const half of [from, from + 64]) {
      x = u64(rotate(u64(x + y + v[0] + at(bytes, half + 16)), 37) * K1) ^ w[1];
      y = u64(rotate(u64(y + v[1] + at(bytes, half + 48)), 42) * K1) ^ v[0];
      z = rotate(z ^ w[0], 33);
      v = weak(bytes, half, u64(v[1] * K1), u64(x + w[0]));
      w = weak(bytes, half + 32, u64(z + w[1]), y);
      [z, x] = [x, z];
    }
  }
  y = u64(y + rotate(w[0], 37) * K0 + z);
  x = u64(x + rotate(u64(v[0] + z), 49) * K0);
  for (let done = 32; done - 32 < length - from; done += 32) {
    y = u64(rotate(u64(y - x), 42) * K0 + v[1]);
    const w0 = u64(w[0] + at(bytes, length - done + 16));
    x = u64(rotate(x, 49) * K0 + w0);
    w = [u64(w0 + v[0]), w[1]];
    v = weak(bytes, length - done, v[0], v[1]);
  }
  x = of16(x, v[0]);
  y = of16(y, w[0]);
  return [u64(of16(u64(x + v[1]), w[1]) + y), of16(u64(x + w[1]), u64(y + v[1]))];
}

/** As ClickHouse writes it: 16 bytes. */
export function hashOfFile(bytes: Buffer): Buffer {
  let state: Pair = [0n, 0n];
  for (let from = 0; from < bytes.length; from += BLOCK) state = ofBlock(bytes.subarray(from, from + BLOCK), state);
  const hash = Buffer.alloc(16);
  hash.writeBigUInt64LE(state[0], 0);
  hash.writeBigUInt64LE(state[1], 8);
  return hash;
}
