/** What becomes of log lines when standard error is slow, full or gone. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { createLog, droppedLines } from '../src/log/log.ts';
import { type Sink, createOutput } from '../src/log/output.ts';
import { destinationOf } from '../src/log/standard-error.ts';
import { createManualClock, settled } from './support/clock.ts';
import { randomOf } from './support/factory.ts';

/** A place that takes what it is told to take. */
function createPlace() {
  let taken = '';
  let trouble: string | null = null;
  let most = Infinity;
  const writeNow = (bytes: Buffer) => {
    if (trouble !== null) throw Object.assign(new Error(trouble), { code: trouble });
    const written = Math.min(bytes.length, most);
    taken += bytes.toString('utf8', 0, written);
    return written;
  };
  const sink: Sink = {
    writeNow,
    write(bytes, done) {
      let written: number;
      try {
        written = writeNow(bytes);
      } catch (error) {
        return done(error as Error, 0);
      }
      done(null, written);
    },
  };
  return {
    sink,
    taken: () => taken,
    fail: (code: string | null) => (trouble = code),
    /** Bytes of one write. */
    take: (bytes: number) => (most = bytes),
  };
}

function setup(maxBytes = 1_000) {
  const clock = createManualClock();
  const place = createPlace();
  const output = createOutput({ sink: place.sink, clock }, { maxBytes });
  return { clock, place, output, log: createLog('info', output, clock) };
}

const messagesIn = (text: string) =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => (JSON.parse(line) as { msg: string }).msg);

test.each(['EAGAIN', 'ENOSPC', 'EPIPE', 'EIO', 'EBADF'])(
  'a place that fails with %s gets what waited, whole and in order, when it is well again, and the count of the rest',
  async (code) => {
    const { clock, place, output, log } = setup();
    log.info('before');
    place.fail(code);
    for (let n = 0; n < 100; n++) log.debug('not even asked for');
    for (let n = 0; n < 100; n++) log.info({ requestId: n }, `line ${n}`);
    expect(messagesIn(place.taken())).toEqual(['before']);
    expect(output.dropped()).toBeGreaterThan(50);
    place.fail(null);
    place.take(7);
    await clock.advance(5_000);
    const messages = messagesIn(place.taken());
    const kept = 100 - output.dropped();
    expect(messages).toEqual([
      'before',
      ...Array.from({ length: kept }, (_, n) => `line ${n}`),
      'log lines were dropped: standard error did not accept them',
    ]);
    expect(place.taken()).toContain(`"lines":${output.dropped()},`);
    expect(droppedLines(log.child({ part: 'any' }))).toBe(output.dropped());
    log.info('after');
    expect(messagesIn(place.taken()).at(-1)).toBe('after');
  },
);

test('an error finds room when nothing less does', () => {
  const { place, output, log } = setup();
  place.fail('EAGAIN');
  for (let n = 0; n < 100; n++) log.info({ requestId: n }, 'ordinary');
  const before = output.dropped();
  log.error('what matters');
  expect(output.dropped()).toBe(before);
  place.fail(null);
  output.finish(100);
  expect(messagesIn(place.taken())).toContain('what matters');
});

test('the end writes what waits, and does not wait for ever', async () => {
  const clock = createManualClock();
  const place = createPlace();
  // The manual clock stands still while the end blocks: here it has to move by itself.
  let time = 0;
  const moving = { ...clock, elapsed: () => (time += 20) };
  const output = createOutput({ sink: place.sink, clock: moving }, { maxBytes: 1_000 });
  place.fail('EAGAIN');
  output.write('last\n');
  output.finish(100);
  expect(place.taken()).toBe('');
  place.fail(null);
  output.finish(100);
  expect(place.taken()).toBe('last\n');
});

test('what a thread is writing when the end comes is not written twice', () => {
  const place = createPlace();
  const { sink } = place;
  const slow: Sink = { ...sink, write: (bytes) => void sink.writeNow(bytes) };
  const output = createOutput({ sink: slow, clock: createManualClock() }, { maxBytes: 1_000 });
  output.write('one\n');
  output.write('two\n');
  output.finish(100);
  expect(place.taken()).toBe('one\ntwo\n');
});

test.each(Array.from({ length: 50 }, (_, seed) => seed))(
  'seed %i: whatever fails when, each line is written whole and once, in order, or counted',
  async (seed) => {
    const random = randomOf(seed);
    const { clock, place, output } = setup(300);
    let sent = 0;
    for (let step = 0; step < 200; step++) {
      const dice = random();
      if (dice < 0.6) output.write(`${sent++} ${'x'.repeat(Math.floor(random() * 60))}\n`);
      else if (dice < 0.7) place.fail(['EAGAIN', 'ENOSPC', 'EPIPE'][Math.floor(random() * 3)]!);
      else if (dice < 0.8) place.fail(null);
      else if (dice < 0.9) place.take(1 + Math.floor(random() * 40));
      else await clock.advance(random() * 3_000);
    }
    place.fail(null);
    await clock.advance(10_000);
    const written = place.taken().split('\n').slice(0, -1);
    const told = written.flatMap((line) => (line.startsWith('{') ? [JSON.parse(line) as { lines: number }] : []));
    const lines = written.filter((line) => !line.startsWith('{'));
    expect(lines.filter((line) => !/^\d+ x*$/.test(line))).toEqual([]);
    expect(told.reduce((sum, { lines: count }) => sum + count, 0)).toBe(output.dropped());
    const numbers = lines.map((line) => Number.parseInt(line, 10));
    expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
    expect(numbers.length + output.dropped()).toBe(sent);
  },
);

describe('lines of one kind', () => {
  test('are limited, and their number is said; other kinds, debug lines and records of requests are not', async () => {
    const { clock, place, log } = setup(1_000_000);
    log.level = 'debug';
    for (let n = 0; n < 1_000; n++) {
      log.warn({ batchId: n, class: 'data', code: 6 }, 'insert failed');
      log.info({ requestId: n }, 'query ended');
      log.debug({ n }, 'detail');
    }
    log.warn({ class: 'operator', code: 60 }, 'insert failed');
    log.error({ err: new TypeError('one') }, 'request failed');
    log.fatal('the end');
    const countOf = (text: string) => place.taken().split(text).length - 1;
    expect(countOf('"code":6,')).toBe(20);
    expect(countOf('"query ended"')).toBe(1_000);
    expect(countOf('"detail"')).toBe(1_000);
    expect([countOf('"code":60'), countOf('"TypeError"'), countOf('"the end"')]).toEqual([1, 1, 1]);
    await clock.advance(10_000);
    const said = place.taken().trimEnd().split('\n').at(-1)!;
    expect(JSON.parse(said)).toMatchObject({
      level: 40,
      like: 'insert failed',
      class: 'data',
      code: 6,
      lines: 980,
      seconds: 10,
      msg: 'similar log lines were suppressed',
    });
    log.warn({ class: 'data', code: 6 }, 'insert failed');
    expect(messagesIn(place.taken()).at(-1)).toBe('insert failed');
  });

  test('are counted also when the process ends before the time is over', async () => {
    const { place, output, log } = setup(1_000_000);
    for (let n = 0; n < 30; n++) log.warn('again');
    output.finish(100);
    // The sleep that was cut short goes on in a turn of its own.
    await settled();
    expect(place.taken()).toContain('"lines":10,');
  });

  test('of ever new kinds are limited together', async () => {
    const { clock, place, log } = setup(1_000_000);
    for (let n = 0; n < 5_000; n++) log.warn({ code: n }, 'coded');
    expect(messagesIn(place.taken()).length).toBeLessThan(600);
    await clock.advance(10_000);
    log.warn({ code: 1 }, 'coded');
    expect(messagesIn(place.taken()).at(-1)).toBe('coded');
  });
});

describe('real descriptors', () => {
  const dirs: string[] = [];
  afterEach(() => {
    for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true });
  });

  test('a full pipe says so at once, whether or not the descriptor would have waited', () => {
    const dir = mkdtempSync(join(tmpdir(), 'weir-log-'));
    dirs.push(dir);
    const path = join(dir, 'pipe');
    execFileSync('mkfifo', [path]);
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const waits = openSync(path, constants.O_WRONLY);
    const sink = destinationOf(waits);
    expect(() => {
      for (;;) sink.writeNow(Buffer.alloc(4_096));
    }).toThrow('EAGAIN');
    readSync(reader, Buffer.alloc(65_536));
    expect(sink.writeNow(Buffer.from('room'))).toBe(4);
    closeSync(reader);
    expect(() => sink.writeNow(Buffer.from('nobody'))).toThrow('EPIPE');
    closeSync(waits);
  });

  test('/dev/full fails, and is survived', async () => {
    const full = openSync('/dev/full', 'w');
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    destinationOf(full).write(Buffer.from('line\n'), resolve);
    expect(await promise).toMatchObject({ code: 'ENOSPC' });
    closeSync(full);
  });
});
