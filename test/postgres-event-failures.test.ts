/** What an error of Postgres means for the rows of a batch. */
import { expect, test } from 'vitest';
import type { FailureClass } from '../src/pipeline/ports.ts';
import { ConnectFailure } from '../src/postgres/connection/errors.ts';
import { classOf, insertFailureOf, type Stage } from '../src/postgres/event-store/insert-failures.ts';

const failing = (code: string | undefined, more = {}) =>
  Object.assign(new Error('detail: secret'), { code, detail: 'Failing row contains (secret).', ...more });

/** Of each kind, those that Postgres documents and some that systems and drivers add. */
const MEANINGS: Readonly<Record<FailureClass, readonly string[]>> = {
  unavailable: [
    '08000',
    '08006',
    '08P01',
    '53000',
    '53100',
    '53200',
    '53300',
    '57014',
    '57P01',
    '57P03',
    '58000',
    '58030',
    '40001',
    '40P01',
    '55P03',
    '25006',
    '25P03',
    'ECONNREFUSED',
    'ETIMEDOUT',
    'ENOTFOUND',
  ],
  data: ['22001', '22003', '22007', '22021', '22P02', '22P05', '23502', '23514', '23505', '44000', 'P0001', '54000'],
  operator: ['42501', '42P01', '42703', '42804', '42883', '3D000', '3F000', '28P01', '0A000', '55000', 'XX001'],
  unknown: ['XX000', '21000', '38001', '99999', '25P02'],
  ambiguous: [],
  capacity: [],
  too_large: [],
};

test.each(Object.entries(MEANINGS).flatMap(([meaning, codes]) => codes.map((code) => [code, meaning] as const)))(
  '%s is %s',
  (code, meaning) => {
    const origin = { constraint: code === '23514' ? 'a_rule' : null };
    expect(classOf(code, origin)).toBe(meaning);
    const failure = insertFailureOf(failing(code, origin), 'sending');
    expect(failure).toMatchObject({ failureClass: meaning, mayHaveLanded: false });
    expect(failure.message).toContain(code);
    expect(failure.message).not.toContain('secret');
  },
);

test('names the constraint or the column, which are of the schema', () => {
  const message = (more: object, code = '23514') => insertFailureOf(failing(code, more), 'sending').message;
  expect(message({ constraint: 'not_that' })).toBe('Postgres refused the statement (23514, constraint not_that)');
  expect(message({ column: 'user_id' }, '23502')).toBe('Postgres refused the statement (23502, column user_id)');
});

test('a check without a name is that of a partition, which is missing', () => {
  expect(insertFailureOf(failing('23514'), 'sending')).toMatchObject({ failureClass: 'operator', code: 23514 });
});

test('before the COMMIT was sent, nothing may have landed, however the connection broke', () => {
  const broken = failing('ECONNRESET');
  for (const stage of ['connecting', 'sending'] as const) {
    for (const thrown of [broken, new Error('Connection terminated unexpectedly'), new ConnectFailure(broken)]) {
      expect(insertFailureOf(thrown, stage)).toMatchObject({ failureClass: 'unavailable', mayHaveLanded: false });
    }
  }
});

test.each<[code: string | undefined, isOpen: boolean]>([
  // A deferred constraint, a conflict that shows at the end: the server rolled it back, and said so.
  ['23503', false],
  ['P0001', false],
  ['40001', false],
  ['53100', false],
  // It was ending, or is gone.
  ['57P01', true],
  ['57P02', true],
  ['08006', true],
  ['58030', true],
  ['XX000', true],
  ['25P03', true],
  ['ECONNRESET', true],
  [undefined, true],
])('a COMMIT that %s answers leaves open whether it landed: %s', (code, isOpen) => {
  const stage: Stage = 'committing';
  const failure = insertFailureOf(failing(code), stage);
  expect(failure.failureClass === 'ambiguous').toBe(isOpen);
  expect(failure.mayHaveLanded).toBe(isOpen);
});
