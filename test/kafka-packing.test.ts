/** The value of a record on its way into the topic and out of it. */
import * as driver from '@platformatic/kafka';
import fc from './support/fast-check.ts';
import { describe, expect, test, vi } from 'vitest';
import { freeMemory } from '../src/runtime/freed-memory.ts';
import { type Packed, createPacker, ENCODING, MAX_VALUE_BYTES, unpack } from '../src/kafka/packing.ts';
import { largestRecordBytes } from '../src/kafka/topic-facts.ts';

const encodingOf = ({ headers }: Packed): Buffer | null => headers.find(([name]) => name === ENCODING)?.[1] ?? null;
const unpacked = (packed: Packed) => unpack(driver, packed.value, encodingOf(packed)).value;
const rows = (count: number, bytes: number) =>
  Array.from({ length: count }, (_, n) => Buffer.from(`${String(n).padStart(bytes - 1, '0')}\n`));

/** Bytes that do not get smaller. */
function noise(bytes: number): Buffer {
  const all = Buffer.alloc(bytes);
  for (let index = 0, state = 1; index < bytes; index++) {
    state = (state * 48_271) % 2_147_483_647;
    all[index] = state >> 8;
  }
  return all;
}

describe('a value', () => {
  test('comes back as it was, whatever was packed before it in the same memory', () => {
    const packer = createPacker(driver);
    const pieces = fc.array(fc.uint8Array({ maxLength: 5_000 }), { maxLength: 20 });
    fc.assert(
      fc.property(fc.array(pieces, { minLength: 1, maxLength: 4 }), (values) => {
        const packed = values.map((value) => packer.pack(value.map((piece) => Buffer.from(piece))));
        for (const [index, value] of values.entries()) {
          expect(unpacked(packed[index]!).equals(Buffer.concat(value))).toBe(true);
        }
      }),
      { numRuns: 200 },
    );
  });

  test('is smaller on its way', () => {
    const packed = createPacker(driver).pack(rows(500, 200));
    expect(encodingOf(packed)?.toString()).toBe('lz4');
    expect(packed.value.length).toBeLessThan(20_000);
  });

  test.each([
    ['that cannot be made smaller', [noise(70_000)]],
    ['of a tick, which is empty', []],
  ])('%s goes as it is', (_, chunks) => {
    const packed = createPacker(driver).pack(chunks);
    expect(packed.headers).toEqual([]);
    expect(packed.value.equals(Buffer.concat(chunks))).toBe(true);
  });

  test('of many megabytes comes back as well, and small ones behind it', () => {
    const packer = createPacker(driver);
    const large = packer.pack(rows(40_000, 200));
    const small = packer.pack(rows(2, 200));
    expect(unpacked(large).equals(Buffer.concat(rows(40_000, 200)))).toBe(true);
    expect(unpacked(small).equals(Buffer.concat(rows(2, 200)))).toBe(true);
  });

  test('that is damaged, or packed by a later version, is said to be unreadable, and never other bytes', () => {
    const { value } = createPacker(driver).pack(rows(500, 200));
    const damaged = value.subarray(0, value.length / 2);
    expect(unpack(driver, damaged, Buffer.from('lz4'))).toEqual({ value: damaged, unreadable: 'it is damaged' });
    expect(unpack(driver, noise(1_000), Buffer.from('lz4')).unreadable).toBe('it is damaged');
    expect(unpack(driver, value, Buffer.from('brotli'))).toEqual({
      value,
      unreadable: 'it is packed in a way that a later version may know',
    });
    // What came before leaves nothing behind.
    const packed = createPacker(driver).pack(rows(500, 200));
    expect(unpacked(packed).equals(Buffer.concat(rows(500, 200)))).toBe(true);
  });

  test('that would be larger than any that Weir packs is not unpacked, whoever made it', () => {
    const { lz4 } = driver.compressionsAlgorithms;
    const largest = lz4.compressSync(Buffer.alloc(MAX_VALUE_BYTES, 'a'));
    expect(unpack(driver, largest, Buffer.from('lz4')).value).toHaveLength(MAX_VALUE_BYTES);
    const beyond = lz4.compressSync(Buffer.alloc(MAX_VALUE_BYTES + 8 * 1024 * 1024, 'a'));
    expect(unpack(driver, beyond, Buffer.from('lz4'))).toEqual({
      value: beyond,
      unreadable: 'it would be larger than any that Weir has packed',
    });
    expect(largestRecordBytes(2 ** 30)).toBe(MAX_VALUE_BYTES);
    const decompressSync = vi.fn();
    const ofDriver = { compressionsAlgorithms: { lz4: { decompressSync } } } as unknown as typeof driver;
    // With checksums of blocks, the size of the content and a dictionary; without an end; and of another kind of frame.
    const heads = ['04224d18 70 70 00', '04224d18 68 70 0000000000000000 00', '04224d18 61 70 00000000 00'];
    const block = (tail: string) => Buffer.from(`04000000 1f610100 ${tail}`.replaceAll(' ', ''), 'hex');
    for (const [index, head] of heads.entries()) {
      const blocks = Array.from({ length: 17 }, () => block(index === 0 ? '00000000' : ''));
      const frame = [Buffer.from(head.replaceAll(' ', ''), 'hex'), ...blocks];
      const whole = Buffer.concat([...frame, Buffer.alloc(4)]);
      expect(unpack(ofDriver, whole, Buffer.from('lz4')).unreadable).toMatch(/larger than any/);
      expect(unpack(ofDriver, Buffer.concat(frame), Buffer.from('lz4')).unreadable).toBe('it is damaged');
    }
    const legacy = Buffer.concat([Buffer.from('02214c18', 'hex'), ...Array.from({ length: 9 }, () => block(''))]);
    expect(unpack(ofDriver, legacy, Buffer.from('lz4')).unreadable).toBe('it is damaged');
    expect(decompressSync).not.toHaveBeenCalled();
  });

  test('has its memory to itself, so that it can be given back', () => {
    const { value } = unpack(driver, createPacker(driver).pack(rows(500, 200)).value, Buffer.from('lz4'));
    freeMemory([value]);
    expect(value).toHaveLength(0);
  });
});
