/**
 * Who was sent, and who has arrived. Every event of a roll carries a number in
 * the place where its body has an id, the roll knows what was answered for it,
 * and `call` compares that with what ClickHouse holds: nothing can be lost,
 * doubled or invented unseen. A byte an event, because there are millions.
 */
import type { Stores } from '../../support/stores.ts';
import { type OnAnswer, type Sendable, type Target, requestOf } from './load.ts';

export type Roll = {
  /** So many new numbers, in a row; the first of them. They count as sent. */
  enlist(count: number): number;
  /** What became of them. Without an answer an event may have arrived or not. */
  acknowledge(first: number, count: number): void;
  refuse(first: number, count: number): void;
  acknowledged(): number;
  refused(): number;
  /** Asks ClickHouse. Call it when all is at rest. */
  call(stores: Stores): Promise<RollCall>;
};

export type RollCall = {
  readonly acknowledged: number;
  readonly stored: number;
  /** Acknowledged, and not stored. */
  readonly lost: number;
  /** Copies beyond the first, in the table or in the hourly counts. */
  readonly doubled: number;
  /** Stored, though never sent or certainly refused. */
  readonly invented: number;
};

/** A request, and the numbers of its events. */
type Numbered = Sendable & { readonly first: number; readonly count: number };

/** A load whose answers are entered in a roll. */
export type NumberedLoad = { readonly next: () => Numbered; readonly onAnswer: OnAnswer<Numbered> };

const SENT = 1;
const ACKNOWLEDGED = 2;
const REFUSED = 3;
const MAX_COPIES = 255;

export function createRoll(): Roll {
  let fates = new Uint8Array(1 << 20);
  let made = 0;
  let acknowledged = 0;
  let refused = 0;

  return {
    enlist(count) {
      const first = made;
      made += count;
      while (made > fates.length) {
        const longer = new Uint8Array(fates.length * 2);
        longer.set(fates);
        fates = longer;
      }
      fates.fill(SENT, first, made);
      return first;
    },
    acknowledge(first, count) {
      fates.fill(ACKNOWLEDGED, first, first + count);
      acknowledged += count;
    },
    refuse(first, count) {
      fates.fill(REFUSED, first, first + count);
      refused += count;
    },
    acknowledged: () => acknowledged,
    refused: () => refused,
    call,
  };

  async function call(stores: Stores): Promise<RollCall> {
    const copies = new Uint8Array(made);
    let rows = 0;
    let strangers = 0;
    for await (const numbers of numbersStored(stores)) {
      rows += numbers.length;
      for (const number of numbers) {
        if (number >= made) strangers += 1;
        else copies[number] = Math.min(copies[number]! + 1, MAX_COPIES);
      }
    }
    let stored = 0;
    let lost = 0;
    let doubled = 0;
    let invented = strangers;
    for (let number = 0; number < made; number += 1) {
      if (copies[number]! > 0) stored += 1;
      if (copies[number]! > 1) doubled += copies[number]! - 1;
      if (copies[number] === 0 && fates[number] === ACKNOWLEDGED) lost += 1;
      if (copies[number]! > 0 && fates[number] === REFUSED) invented += 1;
    }
    // A merge makes one of equal rows, but the view has counted each insert that was not recognised.
    const [hourly] = await stores.select<{ events: string }>(
      `SELECT toString(sum(events)) AS events FROM ${stores.database}.event_counts_hourly`,
    );
    const countedTwice = Math.max(0, Number(hourly!.events) - rows);
    return { acknowledged, stored, lost, doubled: doubled + countedTwice, invented };
  }
}

/** Digits of a number, in the last group of an id. */
const DIGITS = 8;
const ID = /[0-9a-f]{8}-0000-7000-8000-0000(?=[0-9a-f]{8})/g;

/** A product event has no id of its own: its number is in its properties. */
async function* numbersStored({ clickhouse, database }: Stores): AsyncGenerator<Uint32Array> {
  const { stream } = await clickhouse.exec({
    query: `SELECT reinterpretAsUInt32(reverse(unhex(right(
        if(source = 'product', JSONExtractString(properties, 'order'), toString(event_id)), ${DIGITS}))))
      FROM ${database}.events_raw_v1 FORMAT RowBinary`,
  });
  let rest = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const bytes = Buffer.concat([rest, chunk]);
    const count = Math.floor(bytes.length / Uint32Array.BYTES_PER_ELEMENT);
    yield Uint32Array.from({ length: count }, (_, index) => bytes.readUInt32LE(index * Uint32Array.BYTES_PER_ELEMENT));
    rest = bytes.subarray(count * Uint32Array.BYTES_PER_ELEMENT);
  }
}

/** Bytes whose ids are written over with numbers. */
export type Numberable = { readonly bytes: Buffer; readonly places: readonly number[] };

/** Finds the ids that `createBodies` made. */
export function numberable(bytes: Buffer): Numberable {
  const places = [...bytes.toString('latin1').matchAll(ID)].map(({ 0: id, index }) => index + id.length);
  return { bytes, places };
}

/** A copy with the numbers from `first` on. */
export function numbered({ bytes, places }: Numberable, first: number): Buffer {
  const copy = Buffer.from(bytes);
  for (const [index, place] of places.entries()) writeDigits(copy, place, first + index);
  return copy;
}

/** The bodies by turns, again and again, each time with numbers of their own. */
export function numberedLoad(roll: Roll, target: Target, bodies: readonly Buffer[]): NumberedLoad {
  const templates = bodies.map((body) => numberable(requestOf(target, body)));
  let made = 0;
  return {
    next() {
      const template = templates[made++ % templates.length]!;
      const count = template.places.length;
      const first = roll.enlist(count);
      return { request: numbered(template, first), first, count };
    },
    onAnswer(status, { first, count }) {
      if (status === 202) roll.acknowledge(first, count);
      // Anything else leaves open what has become of the events.
      else if (status === 429 || status === 503) roll.refuse(first, count);
    },
  };
}

const HEX = Buffer.from('0123456789abcdef');

function writeDigits(bytes: Buffer, place: number, number: number) {
  let left = number;
  for (let at = place + DIGITS - 1; at >= place; at -= 1) {
    bytes[at] = HEX[left & 15]!;
    left >>>= 4;
  }
}
