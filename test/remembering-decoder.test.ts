/** A decoder that is remembered is never that of another context. */
import { expect, test, vi } from 'vitest';
import type { AsSent, DecodeContext, DecodeEvent } from '../src/event/decoding.ts';
import { rememberingDecoder } from '../src/event/remembering-decoder.ts';
import { DECODE_CONTEXT, OTHER_PROJECT } from './support/factory.ts';

const AS_SENT: AsSent = { sentAt: null, hint: null, token: null, ip: null, userAgent: null };
/** Each member of a context, changed. */
const OTHERS: Readonly<Required<DecodeContext>> = {
  projectId: OTHER_PROJECT,
  source: `other ${DECODE_CONTEXT.source}`,
  receivedAt: DECODE_CONTEXT.receivedAt + 1,
  maxFutureMs: DECODE_CONTEXT.maxFutureMs + 1,
  newEventId: () => 'another',
  retentionSeconds: (DECODE_CONTEXT.retentionSeconds ?? 0) + 1,
  skewMs: 1,
  asSent: AS_SENT,
};

function setup() {
  const made = vi.fn(
    (_context: DecodeContext): DecodeEvent =>
      () =>
        'row',
  );
  return { made, decoder: rememberingDecoder(made) };
}

test('the same context is decoded by the same function', () => {
  const { made, decoder } = setup();
  expect(decoder({ ...DECODE_CONTEXT })).toBe(decoder({ ...DECODE_CONTEXT }));
  expect(made).toHaveBeenCalledTimes(1);
});

test.each(Object.entries(OTHERS))('another %s is decoded by another', (name, value) => {
  const { made, decoder } = setup();
  const other = { ...DECODE_CONTEXT, [name]: value };
  expect(decoder(DECODE_CONTEXT)).not.toBe(decoder(other));
  expect(made).toHaveBeenLastCalledWith(other);
});

test('what a request says about its events is kept for no other', () => {
  const { decoder } = setup();
  const first = decoder(DECODE_CONTEXT);
  expect(decoder({ ...DECODE_CONTEXT, asSent: AS_SENT })).not.toBe(decoder({ ...DECODE_CONTEXT, asSent: AS_SENT }));
  expect(decoder(DECODE_CONTEXT)).toBe(first);
});
