/**
 * Values by sequence number, for numbers that come in order and go nearly so. As a map of chunks: a `Map` of every value
 * has to be made anew, at its size, whenever as many have come and gone as it holds.
 */

/** A chunk that holds one late value is a few hundred bytes. */
const CHUNK = 64;

type Chunk<T> = { count: number; readonly values: (T | undefined)[] };

/** A `Map` in all but its memory, for whole numbers from 0 on. */
export class SequenceTable<T extends object> {
  readonly #chunks = new Map<number, Chunk<T>>();
  /** The chunk that was used last, mostly by the number before. */
  #at = -1;
  #chunk: Chunk<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** How many chunks it holds: what its memory goes by. */
  get chunkCount(): number {
    return this.#chunks.size;
  }

  has(sequence: number): boolean {
    return this.#find(sequence)?.values[sequence % CHUNK] !== undefined;
  }

  /** Sets the value of a number that has none. */
  add(sequence: number, value: T): void {
    const chunk = this.#find(sequence) ?? this.#begin();
    chunk.values[sequence % CHUNK] = value;
    chunk.count += 1;
    this.#size += 1;
  }

  /** Removes the value and returns it; undefined where there is none. */
  take(sequence: number): T | undefined {
    const chunk = this.#find(sequence);
    const value = chunk?.values[sequence % CHUNK];
    if (chunk === undefined || value === undefined) return undefined;
    chunk.values[sequence % CHUNK] = undefined;
    chunk.count -= 1;
    this.#size -= 1;
    if (chunk.count === 0) this.#end();
    return value;
  }

  *values(): Generator<T> {
    for (const { values } of this.#chunks.values()) {
      for (const value of values) if (value !== undefined) yield value;
    }
  }

  #find(sequence: number): Chunk<T> | undefined {
    const at = Math.floor(sequence / CHUNK);
    if (at !== this.#at) {
      this.#at = at;
      this.#chunk = this.#chunks.get(at);
    }
    return this.#chunk;
  }

  /** The chunk that `#find` has not found. */
  #begin(): Chunk<T> {
    this.#chunk = { count: 0, values: Array.from<T | undefined>({ length: CHUNK }) };
    this.#chunks.set(this.#at, this.#chunk);
    return this.#chunk;
  }

  /** The chunk that `#find` has found. */
  #end() {
    this.#chunks.delete(this.#at);
    this.#chunk = undefined;
  }
}
