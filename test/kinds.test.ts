import { describe, expect, test } from 'vitest';
import {
  type Kind,
  digitsOrText,
  flag,
  label,
  labels,
  listOf,
  number,
  object,
  oneOf,
  shape,
  text,
  uuid,
} from '../src/event/kinds.ts';

/** The reason against a raw JSON value of the field `f`. */
const judge = (kind: Kind, raw: string) => kind.refuse(Buffer.from(raw).toString('latin1'), 'f');
const long = (length: number, of = 'x') => of.repeat(length);

const CHANNEL = oneOf('web', 'email', '');
const POINT = shape({ x: { kind: number(), required: true }, label: { kind: text(3) } });

describe('what is accepted', () => {
  test.each<[string, Kind, string[]]>([
    [
      'text',
      text(3),
      ['""', '"abc"', '"😀😀😀"', '"\\ud83d\\ude00ab"', '"\\ud800\\ud800\\ud800"', '"\\u0000"', '"éé€"'],
    ],
    ['text of at least one', text(3, { minLength: 1 }), ['"a"', '"\\u0000"', '" "']],
    ['one of', CHANNEL, ['"web"', '"email"', '""', '"w\\u0065b"']],
    ['uuid', uuid, ['"550e8400-e29b-41d4-a716-446655440000"', '"550E8400-E29B-41D4-A716-44665544000A"']],
    ['uuid spelt otherwise', uuid, ['"550e8400e29b41d4a716446655440000"', '"{550e8400-e29b-41d4-a716-446655440000}"']],
    ['digits or text', digitsOrText(3), ['""', '"abc"', '0', '-1', '1.5', '1e9']],
    ['label', label, ['""', '5', '{}', '[1]', 'true', `"${long(1_000)}"`]],
    ['labels', labels, ['[]', '["a",5,null]', '"a"', '{}']],
    ['a number', number(), ['0', '-0', '-1e400', '1e400', '12345678901234567890', '0.1']],
    ['a number within', number(0, 100), ['0', '100', '-0', '1e2', '100.000', '1e-400', '99.999']],
    ['flag', flag, ['true', 'false']],
    ['object', object(), ['{}', '{"a":1e400}', `{"a":"${long(1_000_000)}"}`]],
    ['object of so many bytes', object({ maxBytes: 10 }), ['{"a":"xy"}', '{"a":"é"}', '{       }']],
    ['list', listOf(text(3), { maxItems: 2 }), ['[]', '[ ]', '["a"]', '["a" , "abc"]', '["",""]']],
    [
      'shape',
      POINT,
      [
        '{"x":1}',
        '{"x":1,"label":null}',
        '{ "label" : "abc" , "x" : 1 , "y" : [] }',
        '{"\\u0078":1}',
        '{"x":"a","x":2}',
      ],
    ],
    ['shape without rules that apply', shape({ a: { kind: flag } }), ['{}', '{"__proto__":1,"constructor":2}']],
  ])('%s', (_name, kind, values) => {
    for (const raw of values) expect({ raw, reason: judge(kind, raw) }).toEqual({ raw, reason: null });
  });
});

describe('what is refused, and why', () => {
  test.each<[Kind, string, string]>([
    [text(3), '1', 'f must be a string'],
    [text(3), 'null', 'f must be a string'],
    [text(3), '{"a":"b"}', 'f must be a string'],
    [text(3), '"abcd"', 'f too long'],
    [text(3), '"😀😀😀😀"', 'f too long'],
    [text(3), '"\\n\\n\\n\\n"', 'f too long'],
    [text(3, { minLength: 1 }), '""', 'f required'],
    [CHANNEL, '"Web"', 'f must be one of web, email'],
    [CHANNEL, '"toString"', 'f must be one of web, email'],
    [CHANNEL, '["web"]', 'f must be one of web, email'],
    [uuid, '""', 'f must be a UUID'],
    [uuid, '5', 'f must be a UUID'],
    [uuid, '"550e8400-e29b41d4a716446655440000"', 'f must be a UUID'],
    [digitsOrText(3), '1234', 'f too long'],
    [digitsOrText(3), 'true', 'f must be a string'],
    [digitsOrText(3, { minLength: 1 }), '""', 'f required'],
    [uuid, '"550e8400-e29b-41d4-a716-44665544000g"', 'f must be a UUID'],
    [uuid, '"550e8400-e29b-41d4-a716-446655440000\\n"', 'f must be a UUID'],
    [number(0, 100), '"5"', 'f must be a number'],
    [number(0, 100), 'true', 'f must be a number'],
    [number(0, 100), '-1', 'f out of range'],
    [number(0, 100), '-1e-300', 'f out of range'],
    [number(0, 100), '101', 'f out of range'],
    [number(0, 100), '1e400', 'f out of range'],
    [number(0, 100), '12345678901234567890', 'f out of range'],
    [flag, '0', 'f must be true or false'],
    [flag, '"true"', 'f must be true or false'],
    [object(), '[]', 'f must be an object'],
    [object(), '"{}"', 'f must be an object'],
    [object({ maxBytes: 10 }), '{"a":"xyz"}', 'f too large'],
    [object({ maxBytes: 10 }), '{"a":"éé"}', 'f too large'],
    [listOf(text(3), { maxItems: 2 }), '{}', 'f must be an array'],
    [listOf(text(3), { maxItems: 2 }), '"a"', 'f must be an array'],
    [listOf(text(3), { maxItems: 2 }), '["a",1]', 'f[1] must be a string'],
    [listOf(text(3), { maxItems: 2 }), '["a",null]', 'f[1] must be a string'],
    [listOf(text(3), { maxItems: 2 }), '["abcd"]', 'f[0] too long'],
    [listOf(text(3), { maxItems: 2 }), '["a","b","c"]', 'f too long'],
    [listOf(text(3), { maxItems: 2 }), '["a","b",1]', 'f too long'],
    [POINT, '[]', 'f must be an object'],
    [POINT, '{}', 'f.x required'],
    [POINT, '{"x":null}', 'f.x required'],
    [POINT, '{"x":"1"}', 'f.x must be a number'],
    [POINT, '{"x":1,"label":"abcd"}', 'f.label too long'],
    // As everywhere, a member that is sent twice counts where it was sent last.
    [POINT, '{"x":1,"x":null}', 'f.x required'],
    [POINT, '{"x":1,"\\u0078":true}', 'f.x must be a number'],
    // The rules decide which reason comes first, not who wrote the event.
    [POINT, '{"label":5,"x":"1"}', 'f.x must be a number'],
  ])('%# %s %s: %s', (kind, raw, reason) => {
    expect(judge(kind, raw)).toBe(reason);
  });
});

test.each<[string, Kind, object]>([
  ['text', text(3), { type: 'string', maxLength: 3 }],
  ['text of at least one', text(3, { minLength: 1 }), { type: 'string', maxLength: 3, minLength: 1 }],
  ['digits or text', digitsOrText(3), { type: ['string', 'number'], maxLength: 3 }],
  ['one of', CHANNEL, { type: 'string', enum: ['web', 'email', ''] }],
  ['uuid', uuid, { type: 'string', format: 'uuid' }],
  ['a number', number(), { type: 'number' }],
  ['a number within', number(0, 100), { type: 'number', minimum: 0, maximum: 100 }],
  ['flag', flag, { type: 'boolean' }],
  ['object', object({ maxBytes: 10 }), { type: 'object', description: 'At most 10 bytes as sent.' }],
  ['list', listOf(flag, { maxItems: 2 }), { type: 'array', items: { type: 'boolean' }, maxItems: 2 }],
  [
    'shape',
    POINT,
    {
      type: 'object',
      properties: { x: { type: 'number' }, label: { anyOf: [{ type: 'string', maxLength: 3 }, { type: 'null' }] } },
      required: ['x'],
    },
  ],
  [
    'shape without required fields',
    shape({ a: { kind: flag } }),
    { type: 'object', properties: { a: { anyOf: [{ type: 'boolean' }, { type: 'null' }] } } },
  ],
])('the schema of %s', (_name, kind, schema) => {
  expect(kind.schema).toEqual(schema);
});
