/** The sampler: how often it asks, and what it says of a service that does not answer. */
import { expect, test } from 'vitest';
import { createSampler } from '../src/console/watch/sampler.ts';
import { createManualClock } from './support/clock.ts';

const HEALTH = {
  status: 'degraded',
  reasons: ['ClickHouse does not answer'],
  breaker: 'open',
  clickhouse_connected: false,
  postgres_connected: true,
  journal: null,
  topic: null,
};

function setup() {
  const clock = createManualClock();
  const stop = new AbortController();
  const service = { asked: 0, examined: 0, isAway: false };
  const pages = {
    read({ withHealth }: { readonly withHealth: boolean }) {
      service.asked += 1;
      if (withHealth) service.examined += 1;
      if (service.isAway) return Promise.reject(new Error('away'));
      const metrics = [
        `weir_events_total{result="accepted"} ${clock.elapsed() / 10}`,
        'weir_pending_events 5',
        'weir_pending_bytes 50',
        'weir_pending_events_limit 100',
        'weir_pending_bytes_limit 1000',
      ].join('\n');
      return Promise.resolve({ metrics, health: withHealth ? HEALTH : null });
    },
  };
  const sampler = createSampler({ pages, clock });
  const running = sampler.run(stop.signal);
  const end = async () => {
    stop.abort();
    await running;
  };
  return { clock, service, sampler, end };
}

test('asks every ten seconds while nobody looks, and every second while somebody does', async () => {
  const { clock, service, sampler, end } = setup();
  await clock.advance(60_000);
  expect(service.asked).toBe(7);
  sampler.series(60, null);
  await clock.advance(10_000);
  expect(service.asked).toBeGreaterThanOrEqual(17);
  await clock.advance(30_000);
  const before = service.asked;
  await clock.advance(60_000);
  expect(service.asked - before).toBe(6);
  await end();
});

test('asks every two seconds, and not how it is, for somebody who looks at events; for a page that is opened then at once', async () => {
  const { clock, service, sampler, end } = setup();
  for (let second = 0; second < 60; second++) {
    sampler.rates();
    await clock.advance(1_000);
  }
  expect(service.asked).toBeGreaterThanOrEqual(30);
  expect(service.asked).toBeLessThanOrEqual(33);
  expect(service.examined).toBe(1);
  expect(sampler.rates()).toMatchObject({ rates: { accepted: 100 }, pending: { events: 5 } });
  const answering = sampler.now();
  await clock.advance(0);
  expect(await answering).toMatchObject({ health: HEALTH });
  await end();
});

test('answers with what is so now, and what it means', async () => {
  const { clock, sampler, end } = setup();
  await clock.advance(10_000);
  expect(await sampler.now()).toMatchObject({
    health: HEALTH,
    reasons: [{ code: 'clickhouse_away', said: 'ClickHouse does not answer' }],
    rates: { accepted: 100, stored: null },
    pending: { events: 5, bytes: 50, limitEvents: 100, limitBytes: 1_000 },
    breaker: 'open',
    stores: [
      { name: 'ClickHouse', connected: false },
      { name: 'Postgres', connected: true },
    ],
    workers: null,
  });
  await end();
});

test('somebody who looks after a while gets fresh numbers', async () => {
  const { clock, sampler, service, end } = setup();
  await clock.advance(5_000);
  const asked = service.asked;
  const answering = sampler.now();
  await clock.advance(0);
  await answering;
  expect(service.asked).toBe(asked + 1);
  await end();
});

test('a service that does not answer is said to be silent, with its last numbers and gaps', async () => {
  const { clock, sampler, service, end } = setup();
  sampler.series(60, null);
  await clock.advance(3_000);
  service.isAway = true;
  await clock.advance(2_000);
  expect(await sampler.now()).toMatchObject({
    health: null,
    reasons: [{ code: 'service_silent' }],
    pending: { events: 5 },
    rates: { accepted: null },
  });
  expect(sampler.series(60, null).accepted.at(-1)).toBeNull();
  await end();
});
