import { describe, expect, test } from 'vitest';
import { closedBecause, createFlags, type Facts, isEnding, isFatal } from '../src/pipeline/flags.ts';

function setup(intake: 'open' | 'disabled' = 'open') {
  const heard: Facts[] = [];
  return { flags: createFlags({ intake }, (facts) => heard.push(facts)), heard };
}

describe('why intake is closed', () => {
  const facts: Facts = { intake: 'open', unhomed: 0, deadLetters: null };
  test.each([
    ['open, everything at home', facts, null],
    ['switched off', { ...facts, intake: 'disabled' }, 'ingest_disabled'],
    ['shutting down', { ...facts, intake: 'draining' }, 'shutting_down'],
    ['a batch without a home', { ...facts, unhomed: 1 }, 'ingest_down'],
    ['switched off and a batch without a home', { ...facts, intake: 'disabled', unhomed: 3 }, 'ingest_disabled'],
    ['shutting down and a batch without a home', { ...facts, intake: 'draining', unhomed: 3 }, 'shutting_down'],
  ] as const)('%s', (_name, given, reason) => {
    expect(closedBecause(given)).toBe(reason);
  });
});

test('fatal lasts exactly as long as some batch has no home', () => {
  const { flags } = setup();
  const seen = [isFatal(flags.facts())];
  for (const change of [1, 1, -1, -1] as const) {
    flags.unhomed(change);
    seen.push(isFatal(flags.facts()));
  }
  expect(seen).toEqual([false, true, true, true, false]);
});

test('nothing opens intake again once it is draining', () => {
  const { flags } = setup('disabled');
  flags.setIntake('open');
  flags.beginDraining();
  flags.setIntake('open');
  flags.setIntake('disabled');
  expect(flags.facts().intake).toBe('draining');
});

test('before the end events are still taken, whatever is switched meanwhile, and everybody can tell', () => {
  const { flags } = setup();
  expect(isEnding(flags.facts())).toBe(false);
  flags.beginLeaving();
  expect([closedBecause(flags.facts()), isEnding(flags.facts())]).toEqual([null, true]);
  flags.setIntake('disabled');
  expect([closedBecause(flags.facts()), isEnding(flags.facts())]).toEqual(['ingest_disabled', true]);
  flags.setIntake('open');
  flags.beginDraining();
  expect([closedBecause(flags.facts()), isEnding(flags.facts())]).toEqual(['shutting_down', true]);
});

test('says what changed, and keeps quiet about what did not and about measurements', () => {
  const { flags, heard } = setup();
  flags.setIntake('open');
  flags.setIntake('disabled');
  flags.setIntake('disabled');
  flags.measured({
    rows: 1,
    events: 2,
    bytes: 3,
    oldestAt: 4,
    quarantinedRows: 0,
    quarantinedEvents: 0,
    isEstimate: false,
  });
  expect(heard.map(({ intake }) => intake)).toEqual(['disabled']);
  expect(flags.facts().deadLetters).toMatchObject({ rows: 1, events: 2 });
});

test('a depth that was never measured is unknown, not zero', () => {
  expect(setup().flags.facts().deadLetters).toBeNull();
});

test('facts that were read do not change afterwards', () => {
  const { flags } = setup();
  const before = flags.facts();
  flags.unhomed(1);
  expect(before.unhomed).toBe(0);
});
