import { expect, test } from 'vitest';
import { createConnectivity } from '../src/composition/connectivity.ts';
import { createLog } from '../src/log/log.ts';
import { createBreaker } from '../src/pipeline/breaker.ts';
import { createManualClock } from './support/clock.ts';

/** A process that stood still hears no answer in time, whatever it asks. */
async function afterSilence(store: 'ClickHouse' | 'Postgres', { inserts }: { inserts: boolean }) {
  const clock = createManualClock();
  const breaker = createBreaker({ clock, random: () => 0, onChange: () => {} });
  let isSilent = true;
  const answer = () => (isSilent ? new Promise<never>(() => {}) : Promise.resolve(true));
  const connectivity = createConnectivity(
    {
      storage: { name: store, connectTrouble: () => null, isAnswering: answer },
      control: {
        connectTrouble: () => null,
        probe: { ask: async () => void (await answer()), isReadOnly: () => false },
      },
      breaker: inserts ? breaker : null,
    },
    { clock, log: createLog('silent') },
  );
  const stop = new AbortController();
  const watching = connectivity.events.run(stop.signal);
  await clock.advance(30_000);
  const silent = { up: connectivity.events.isUp(), breaker: breaker.state().kind };
  isSilent = false;
  await clock.advance(30_000);
  stop.abort();
  await clock.advance(1_000);
  await watching;
  return { silent, afterwards: { up: connectivity.events.isUp(), breaker: breaker.state().kind } };
}

test.each(['ClickHouse', 'Postgres'] as const)('inserts into %s are suspended while it is silent', async (store) => {
  expect((await afterSilence(store, { inserts: true })).silent).toEqual({ up: false, breaker: 'open' });
});

test.each(['ClickHouse', 'Postgres'] as const)(
  'a process that inserts nothing into %s suspends nothing, since no insert would show that it is over',
  async (store) => {
    expect(await afterSilence(store, { inserts: false })).toEqual({
      silent: { up: false, breaker: 'closed' },
      afterwards: { up: true, breaker: 'closed' },
    });
  },
);
