import { describe, expect, test } from 'vitest';
import type { ProjectId } from '../src/event/event.ts';
import { type Answer, createIdempotency } from '../src/http/ingest/idempotency.ts';
import { createManualClock } from './support/clock.ts';
import { OTHER_PROJECT, PROJECT } from './support/factory.ts';

const BODY = 'hash of the body';
const OTHER_BODY = 'hash of another body';
const HOUR_MS = 60 * 60_000;

/** Work that counts how often it was done; its answers tell which time it was. */
function setUp() {
  const clock = createManualClock();
  const idempotency = createIdempotency({ clock });
  let done = 0;
  const work = async (): Promise<Answer> => ({ status: 202, body: String(++done), ack: 'queued' });
  const send = ({
    projectId = PROJECT,
    key = 'k',
    body = BODY,
  }: { projectId?: ProjectId; key?: string; body?: string } = {}) => idempotency.once(projectId, key, body, work);
  return { clock, idempotency, send, count: () => done };
}

describe('the same key from the same project', () => {
  test('gets the first answer for 24 h', async () => {
    const { clock, send } = setUp();
    const first = await send();
    await clock.advance(24 * HOUR_MS - 1);
    expect(await send()).toEqual(first);
    await clock.advance(1);
    expect(await send()).toMatchObject({ body: '2' });
  });

  test('with another body is a mismatch, also while the first is on its way', async () => {
    const { send } = setUp();
    const first = send();
    expect(await send({ body: OTHER_BODY })).toBe('mismatch');
    await first;
    expect(await send({ body: OTHER_BODY })).toBe('mismatch');
  });

  test('at the same moment does the work once', async () => {
    const { send, count } = setUp();
    const answers = await Promise.all(Array.from({ length: 50 }, () => send()));
    expect(count()).toBe(1);
    expect(new Set(answers.map((answer) => JSON.stringify(answer))).size).toBe(1);
  });

  test.each(Array.from({ length: 12 }, (_, turns) => turns))(
    'that comes %i turns after the work ended does not do it again',
    async (turns) => {
      const { idempotency } = setUp();
      let done = 0;
      const begun = Promise.withResolvers<void>();
      const work = async (): Promise<Answer> => {
        await begun.promise;
        return { status: 202, body: String(++done), ack: 'queued' };
      };
      const first = idempotency.once(PROJECT, 'k', BODY, work);
      begun.resolve();
      for (let turn = 0; turn < turns; turn++) await Promise.resolve();
      await idempotency.once(PROJECT, 'k', BODY, work);
      await first;
      expect(done).toBe(1);
    },
  );

  test('after a refusal tries again, one at a time', async () => {
    const { idempotency } = setUp();
    let running = 0;
    let most = 0;
    let tries = 0;
    const work = async (): Promise<Answer | null> => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running--;
      return ++tries < 3 ? null : { status: 202, body: 'third', ack: 'queued' };
    };
    const answers = await Promise.all(Array.from({ length: 5 }, () => idempotency.once(PROJECT, 'k', BODY, work)));
    expect({ most, tries }).toEqual({ most: 1, tries: 3 });
    expect(answers.filter((answer) => answer !== null)).toHaveLength(3);
  });

  test('after a failure tries again, and only the first hears of the failure', async () => {
    const { idempotency, send } = setUp();
    const failing = idempotency.once(PROJECT, 'k', BODY, () => Promise.reject(new Error('a bug')));
    const second = send();
    await expect(failing).rejects.toThrow('a bug');
    expect(await second).toMatchObject({ body: '1' });
  });
});

test('another project or another key is another request', async () => {
  const { send, count } = setUp();
  await Promise.all([send(), send({ projectId: OTHER_PROJECT }), send({ key: 'l' })]);
  expect(count()).toBe(3);
});

test('what is remembered is bounded: the oldest answers make room', async () => {
  const { send, count } = setUp();
  await send({ key: 'first' });
  for (let i = 0; i < 120_000; i++) await send({ key: String(i) });
  await send({ key: 'first' });
  expect(count()).toBe(120_002);
});
