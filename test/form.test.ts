/** Forms are read as `URLSearchParams` reads them, as far as a form may go. */
import { describe, expect, test } from 'vitest';
import { isBodyProblem } from '../src/event/envelope.ts';
import { hasTooManyFields, MAX_FORM_FIELDS, readForm, TOO_MANY_FIELDS } from '../src/event/form.ts';
import { formIn } from '../src/event/sdk-body.ts';
import { productDoors } from '../src/http/ingest/doors/product.ts';
import { hasTooManyParameters, queryOf, queryReader } from '../src/http/request/request-target.ts';
import fc from './support/fast-check.ts';
import { serveDoors } from './support/served-doors.ts';

describe('a form', () => {
  const piece = fc.oneof(
    fc.constantFrom('&', '=', '+', '%', '%2', '%26', '%3d', '%2B', '%C3', '%A9', '%c3%a9', '%F0%9f', '%ED%A0%80'),
    fc.constantFrom('%EF%BB%BF', '%g0', '%0', '%00', 'data', 'é', '\ud800', '\ufeff', '😀', ' ', '#', '?'),
    fc.string({ unit: 'binary', maxLength: 3 }),
  );
  const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));

  test('has the fields that URLSearchParams finds', () => {
    fc.assert(
      fc.property(text, (form) => {
        // That one leaves out a question mark at the beginning, and in Node garbles letters next to bad escapes.
        const escaped = form.toWellFormed().replaceAll(/[^\0-\x7f]+/g, encodeURIComponent);
        expect([...readForm(form)]).toEqual([...new URLSearchParams(`?${escaped}`)]);
      }),
      { numRuns: 5_000 },
    );
  });

  test('and of any bytes, escaped', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
        const form = `data=${Array.from(bytes, (byte) => `%${byte.toString(16).padStart(2, '0')}`).join('')}`;
        expect(readForm(form).get('data')).toBe(new URLSearchParams(form).get('data'));
      }),
      { numRuns: 2_000 },
    );
  });

  test.each(['a&', 'a=&', '&'])('of %j again and again is read no further than it may go', (field) => {
    const most = field.repeat(MAX_FORM_FIELDS - 1);
    expect([hasTooManyFields(most), hasTooManyFields(most + field)]).toEqual([false, true]);
    expect([...readForm(field.repeat(400_000))]).toHaveLength(field === '&' ? 0 : MAX_FORM_FIELDS);
  });
});

test('a body with too many fields is refused, whatever stands before them', () => {
  expect(formIn(Buffer.from(`data=e30${'&ab'.repeat(400_000)}`))).toMatchObject({ message: TOO_MANY_FIELDS });
  const form = formIn(Buffer.from(`data=e30${'&ab'.repeat(MAX_FORM_FIELDS - 1)}`));
  if (form === null || isBodyProblem(form)) throw new Error('a form');
  expect(form.get('data')).toBe('e30');
});

describe('the parameters of a target', () => {
  test('are those behind its first question mark', () => {
    expect([...queryOf('/x?a=1?b&c=%20+')]).toEqual([
      ['a', '1?b'],
      ['c', '  '],
    ]);
    expect([...queryOf('/x')]).toEqual([]);
  });

  test('are read once', () => {
    const query = queryReader('/x?a=1');
    expect(query()).toBe(query());
  });

  test('may be as many as the fields of a form', () => {
    const most = `/x?${'a&'.repeat(MAX_FORM_FIELDS - 1)}`;
    expect([hasTooManyParameters(most), hasTooManyParameters(`${most}&`)]).toEqual([false, true]);
  });

  test('with more, a request is refused', async () => {
    const { url, server } = await serveDoors(productDoors);
    const headers = { authorization: 'Bearer good' };
    const target = `${url}/events?${'a&'.repeat(MAX_FORM_FIELDS)}`;
    const refused = await fetch(target, { method: 'POST', headers, body: '{}' });
    expect([refused.status, await refused.json()]).toEqual([400, { error: TOO_MANY_FIELDS, code: 'invalid_query' }]);
    await server.close();
  });
});
