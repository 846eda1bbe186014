/** The keys of all workers: one claim at a time, answers for everybody, and doubt until a journal was read. */
import { describe, expect, test } from 'vitest';
import { type Answer, createIdempotency } from '../src/http/ingest/idempotency.ts';
import { createIdempotencyClaims } from '../src/workers/idempotency-claims.ts';
import { createManualClock, settled } from './support/clock.ts';
import { PROJECT } from './support/factory.ts';

const ANSWER: Answer = { status: 202, body: '{"accepted":1}', ack: 'journaled' };
const UNAVAILABLE = { kind: 'unavailable' };

function setUp({ unread = [] as number[], maxOpen = 100 } = {}) {
  const clock = createManualClock();
  const claims = createIdempotencyClaims({ idempotency: createIdempotency({ clock }), unread }, { maxOpen });
  let last = 0;
  const claim = (worker: number, { key = 'k', bodyHash = 'body' } = {}) => {
    const id = ++last;
    return { id, verdict: claims.claim(worker, { claim: id, projectId: PROJECT, key, bodyHash }) };
  };
  const kept = (key: string) => ({
    projectId: PROJECT,
    key,
    bodyHash: 'body',
    answer: JSON.stringify(ANSWER),
    at: clock.now(),
  });
  return { claims, claim, kept, clock };
}

test('the first to claim is granted; another worker waits and gets the same answer', async () => {
  const { claims, claim } = setUp();
  const first = claim(1);
  expect(await first.verdict).toEqual({ kind: 'granted' });
  const second = claim(2);
  claims.release(1, first.id, ANSWER);
  expect(await second.verdict).toEqual({ kind: 'answered', answer: ANSWER });
  expect(await claim(3).verdict).toEqual({ kind: 'answered', answer: ANSWER });
});

test('what was not taken goes to whoever waits', async () => {
  const { claims, claim } = setUp();
  const first = claim(1);
  await first.verdict;
  const second = claim(2);
  claims.release(1, first.id, null);
  expect(await second.verdict).toEqual({ kind: 'granted' });
});

test('another body under the same key is a mismatch', async () => {
  const { claim } = setUp();
  await claim(1).verdict;
  expect(await claim(2, { bodyHash: 'another' }).verdict).toEqual({ kind: 'mismatch' });
});

test('a claim whose worker has given up waiting is granted to nobody', async () => {
  const { claims, claim } = setUp();
  const first = claim(1);
  await first.verdict;
  const second = claim(2);
  claims.release(2, second.id, null);
  claims.release(1, first.id, null);
  expect(await second.verdict).toEqual(UNAVAILABLE);
  expect(await claim(3).verdict).toEqual({ kind: 'granted' });
});

describe('a worker that dies with a claim', () => {
  test('leaves its key in doubt: nobody gets it until the journal was read', async () => {
    const { claims, claim } = setUp();
    await claim(1).verdict;
    const waiting = claim(2);
    claims.died(1);
    expect(await waiting.verdict).toEqual(UNAVAILABLE);
    expect(await claim(2).verdict).toEqual(UNAVAILABLE);
    expect(await claim(2, { key: 'another' }).verdict).toEqual({ kind: 'granted' });
  });

  test('had taken it, as its journal says: the answer is the first one', async () => {
    const { claims, claim, kept } = setUp();
    await claim(1).verdict;
    claims.died(1);
    claims.restore(1, [kept('k')], false);
    claims.restore(1, [], true);
    expect(await claim(2).verdict).toEqual({ kind: 'answered', answer: ANSWER });
  });

  test('had not taken it: the next one may', async () => {
    const { claims, claim } = setUp();
    await claim(1).verdict;
    claims.died(1);
    claims.restore(2, [], true);
    expect(await claim(2).verdict).toEqual(UNAVAILABLE);
    claims.restore(1, [], true);
    expect(await claim(2).verdict).toEqual({ kind: 'granted' });
  });

  test('keeps none that it only waited for, and what it answered stays answered', async () => {
    const { claims, claim } = setUp();
    const first = claim(1);
    await first.verdict;
    const waiting = claim(2);
    claims.died(2);
    claims.release(1, first.id, ANSWER);
    expect(await waiting.verdict).toMatchObject({ kind: expect.stringMatching(/answered|unavailable/) });
    claims.died(1);
    expect(await claim(3).verdict).toEqual({ kind: 'answered', answer: ANSWER });
  });
});

test('at the start every unknown key is in doubt until all journals were read', async () => {
  const { claims, claim, kept } = setUp({ unread: [1, 2] });
  claims.restore(1, [kept('known')], true);
  expect(await claim(1, { key: 'known' }).verdict).toMatchObject({ kind: 'answered' });
  expect(await claim(1).verdict).toEqual(UNAVAILABLE);
  claims.restore(2, [], true);
  expect(await claim(1).verdict).toEqual({ kind: 'granted' });
});

test('claims are bounded, and those that ended make room', async () => {
  const { claims, claim } = setUp({ maxOpen: 2 });
  const first = claim(1, { key: 'a' });
  await first.verdict;
  await claim(1, { key: 'b' }).verdict;
  expect(await claim(1, { key: 'c' }).verdict).toEqual(UNAVAILABLE);
  claims.release(1, first.id, null);
  await settled();
  expect(await claim(1, { key: 'c' }).verdict).toEqual({ kind: 'granted' });
});
