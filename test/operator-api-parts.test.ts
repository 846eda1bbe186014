/** The parts of the operator API that need no store: files, memory, questions, jobs. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { readRecipes, recipesFor } from '../src/console/operator/cookbook.ts';
import { createJobs } from '../src/console/operator/jobs.ts';
import { remembered } from '../src/console/operator/remembered.ts';
import { createLog } from '../src/log/log.ts';
import { OperationRefused } from '../src/operations/refused.ts';
import { createManualClock, settled } from './support/clock.ts';
import { recipesOf } from './support/recipes.ts';

describe('the cookbook', () => {
  test.each([
    ['ClickHouse', '###'],
    ['Postgres', '####'],
  ] as const)('has every recipe in the SQL of %s, as docs/QUERIES.md has it', (store, level) => {
    const recipes = readRecipes(store);
    expect(recipes.map(({ title, sql }) => ({ title, sql }))).toEqual(
      recipesOf(level).map(({ title, sql }) => ({ title, sql: sql.trim() })),
    );
    expect(recipes.every(({ chapter }) => chapter !== '')).toBe(true);
  });

  test('takes what stands before the SQL as its description, and skips parts without one', () => {
    const text = '# Q\n\n## Part\n\nwords\n\n### One\n\nSay\nmore.\n\n```sql\nSELECT 1\n```\n\n### Two\n\nnone\n';
    expect(recipesFor('ClickHouse', text)).toEqual([
      { chapter: 'Part', title: 'One', description: 'Say\nmore.', sql: 'SELECT 1' },
    ]);
    expect(readFileSync('docs/QUERIES.md', 'utf8')).toContain('### Top events');
  });
});

describe('what is remembered', () => {
  test('is read once for all who ask at once, and again for whoever asks later, unless it took long', async () => {
    const clock = createManualClock();
    let reads = 0;
    let slowMs = 0;
    const read = remembered(clock, async () => {
      if (slowMs > 0) await clock.sleep(slowMs);
      return (reads += 1);
    });
    expect(await Promise.all([read(), read()])).toEqual([1, 1]);
    expect(await read()).toBe(2);
    slowMs = 500;
    const slow = read();
    await clock.advance(500);
    expect(await slow).toBe(3);
    await clock.advance(4_999);
    expect(await read()).toBe(3);
    await clock.advance(1);
    const anew = read();
    await clock.advance(500);
    expect(await anew).toBe(4);
  });

  test('is not an error that somebody got', async () => {
    const clock = createManualClock();
    let isBroken = true;
    const read = remembered(clock, async () => {
      if (isBroken) throw new Error('away');
      return 1;
    });
    await expect(read()).rejects.toThrow('away');
    isBroken = false;
    expect(await read()).toBe(1);
  });
});

describe('jobs', () => {
  const clock = createManualClock();
  let made = 0;
  const start = (limits = { atOnce: 2, remembered: 3 }) =>
    createJobs({ clock, log: createLog('silent'), newId: () => `job ${(made += 1)}` }, limits);

  test('tell how far they are, what came of them, and why not', async () => {
    const jobs = start();
    const step = Promise.withResolvers<void>();
    const job = jobs.start({ kind: 'try', by: 'ada' }, async ({ report }) => {
      report('trying', 1, 2);
      await step.promise;
      return { letters: 2 };
    });
    await settled();
    expect(jobs.get(job.id)).toMatchObject({
      state: 'running',
      progress: { step: 'trying', done: 1, total: 2 },
      endedAt: null,
    });
    step.resolve();
    await settled();
    expect(jobs.get(job.id)).toMatchObject({ state: 'done', result: { letters: 2 }, by: 'ada' });

    const refused = jobs.start({ kind: 'discard', by: 'bob' }, async () => {
      throw new OperationRefused('not-found', 'There is no such letter.');
    });
    const broken = jobs.start({ kind: 'discard', by: 'bob' }, async () => {
      throw new TypeError('secret of an event');
    });
    await settled();
    expect(jobs.get(refused.id)).toMatchObject({ state: 'failed', error: 'There is no such letter.' });
    expect(jobs.get(broken.id)!.error).not.toContain('secret');
    expect(jobs.list().map(({ id }) => id)).toEqual([broken.id, refused.id, job.id]);
  });

  test('end after the step in which they are stopped, and one that is over stays as it is', async () => {
    const jobs = start();
    const steps: number[] = [];
    const job = jobs.start({ kind: 'replay', by: 'ada' }, async ({ report }) => {
      for (let n = 1; n <= 5; n++) {
        await settled();
        steps.push(n);
        report('replaying', n, 5);
        if (n === 2) jobs.stop(job.id);
      }
    });
    for (let n = 0; n < 10; n++) await settled();
    expect(jobs.get(job.id)).toMatchObject({ state: 'stopped', progress: { done: 3 } });
    expect(steps).toEqual([1, 2, 3]);
    expect(jobs.stop(job.id)).toMatchObject({ state: 'stopped' });
    expect(jobs.stop('none')).toBeNull();
  });

  test('are few at a time, and few are remembered; those that run are not forgotten', async () => {
    const jobs = start();
    const never = () => new Promise<never>(() => {});
    const first = jobs.start({ kind: 'try', by: 'ada' }, never);
    for (let n = 0; n < 5; n++) {
      jobs.start({ kind: 'try', by: 'ada' }, async () => n);
      await settled();
    }
    expect(jobs.list()).toHaveLength(3);
    expect(jobs.get(first.id)).toMatchObject({ state: 'running' });
    jobs.start({ kind: 'try', by: 'ada' }, never);
    expect(() => jobs.start({ kind: 'try', by: 'ada' }, never)).toThrow('2 jobs are running already');
  });
});
