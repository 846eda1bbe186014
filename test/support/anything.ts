/** Whatever a client may send to a family's paths, by chance: nothing fails, and every event is counted once. */
import fc from './fast-check.ts';
import { expect, test } from 'vitest';
import { send } from './recorded.ts';
import type { ServedApp } from './served-app.ts';

export type Anything = {
  readonly path: string;
  readonly headers: Record<string, string>;
  /** The member of the envelope that lists the events; null for a bare list. */
  readonly list: string | null;
  /** Whether it does so only where the list is of objects and nothing is beside it: any other object is an event. */
  readonly isListAlone?: boolean;
  /** Keys that mean something, in events and in what they hold. */
  readonly keys: readonly string[];
};

const RUNS = { numRuns: 120 };

export function takesAnything(served: ServedApp, { path, headers, list, isListAlone = false, keys }: Anything): void {
  const scalar = fc.oneof(
    fc.constantFrom(null, true, false, 0, -1, 1795190087329, '', 'a', 'undefined', '2026-11-20T15:54:44.119Z'),
    fc.string({ maxLength: 300 }),
    fc.double({ noNaN: true }),
  );
  const key = fc.oneof({ weight: 5, arbitrary: fc.constantFrom(...keys) }, { weight: 1, arbitrary: fc.string() });
  const { value } = fc.letrec((tie) => ({
    value: fc.oneof(
      { maxDepth: 3, withCrossShrink: true },
      scalar,
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(key, tie('value'), { maxKeys: 6 }),
    ),
  }));
  const event = fc.oneof(
    { weight: 5, arbitrary: fc.dictionary(key, value, { maxKeys: 8 }) },
    { weight: 1, arbitrary: value },
  );

  test('any events are taken or rejected, each once', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { maxLength: 5 }), fc.dictionary(key, value), async (events, envelope) => {
        const sent = list === null ? events : { ...envelope, [list]: events };
        const body = JSON.stringify(sent);
        const isOfObjects = events.length === 0 || JSON.stringify(events[0]).startsWith('{');
        const isEvent = isListAlone && (Object.keys(sent).length > 1 || !isOfObjects);
        const answered = await send(served.port, { method: 'POST', path, headers, body });
        const taken = await served.taken();
        expect(answered.status).toBeLessThan(500);
        if (answered.status === 401) expect(taken).toEqual([]);
        else expect(taken.length + Number(answered.headers['weir-rejected'] ?? 0)).toBe(isEvent ? 1 : events.length);
      }),
      RUNS,
    );
  });

  test('any body is answered', async () => {
    const bytes = fc.uint8Array({ maxLength: 200 }).map((some) => Buffer.from(some));
    const text = fc.oneof(
      fc.json(),
      fc.string().map((some) => `data=${some}`),
      fc.json().map((some) => `data=${Buffer.from(some).toString('base64')}`),
      fc.json().map((some) => some.slice(0, -1)),
    );
    await fc.assert(
      fc.asyncProperty(fc.oneof(bytes, text), async (body) => {
        const { status } = await send(served.port, { method: 'POST', path, headers, body });
        await served.taken();
        expect(status).toBeLessThan(500);
      }),
      RUNS,
    );
  });
}
