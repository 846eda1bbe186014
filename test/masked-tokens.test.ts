/** Tokens are taken out of what is kept of rejected events, whatever those look like. */
import fc from './support/fast-check.ts';
import { describe, expect, test } from 'vitest';
import { MASK, OTHER_MASK, type TokensToMask, withoutTokens } from '../src/event/masked-tokens.ts';

const TOKEN = 'wk_test_0123456789';
const OTHER = 'phc_somebody_else_0001';
const masked = (raw: string, of: Partial<TokensToMask> = {}) =>
  withoutTokens(raw, { paths: ['writeKey', 'properties.token'], token: TOKEN, isSiteId: false, ...of });

describe('of an event that can be read', () => {
  test.each([
    [`{"writeKey":"${TOKEN}","a":1}`, `{"writeKey":"${MASK}","a":1}`],
    [`{ "writeKey" : "${OTHER}" }`, `{ "writeKey" : "${OTHER_MASK}" }`],
    [`{"properties":{"token":"${TOKEN}","plan":"pro"}}`, `{"properties":{"token":"${MASK}","plan":"pro"}}`],
    // Of a member that is sent twice both.
    [`{"writeKey":"${OTHER}","writeKey":"${TOKEN}"}`, `{"writeKey":"${OTHER_MASK}","writeKey":"${MASK}"}`],
    // A key may be spelt with escapes.
    [`{"write\\u004bey":"${OTHER}"}`, `{"write\\u004bey":"${OTHER_MASK}"}`],
    [`{"writeKey":{"secret":"x"},"b":[2]}`, `{"writeKey":"${MASK}","b":[2]}`],
    [`{"writeKey":null}`, `{"writeKey":null}`],
    // At another place it is the event's own.
    [`{"token":"of a game","n":12345678901234567890}`, `{"token":"of a game","n":12345678901234567890}`],
  ])('%s', (raw, expected) => expect(masked(raw)).toBe(expected));

  test('its own token is nowhere else either, nor is any of Weir’s', () => {
    const own = 'mere_pub_AbC-123_xyz';
    const raw = `{"url":"https://shop.example/?key=${TOKEN}","list":[{"x":"${TOKEN}"}],"y":"${own}"}`;
    expect(masked(raw)).toBe(`{"url":"https://shop.example/?key=${MASK}","list":[{"x":"${MASK}"}],"y":"${MASK}"}`);
  });

  test('a short public key is no secret, and may be a word', () => {
    expect(masked('{"writeKey":"pro","plan":"pro"}', { token: 'pro' })).toBe(`{"writeKey":"${MASK}","plan":"pro"}`);
  });

  test('the id of a site stays where it is an address', () => {
    const site = { paths: ['d'], token: 'www.shop-with-a-name.example', isSiteId: true };
    const raw = '{"d":"www.shop-with-a-name.example,b.example","u":"https://www.shop-with-a-name.example/"}';
    expect(masked(raw, site)).toBe(`{"d":"${MASK}","u":"https://www.shop-with-a-name.example/"}`);
  });
});

describe('of an event that cannot be read', () => {
  test.each([
    `{"writeKey":"${OTHER}","a":NaN}`,
    `{"writeKey":"${OTHER}`,
    `{'writeKey':'${OTHER}','a':1}`,
    `{writeKey: ${OTHER}, a: 1}`,
    `[{"properties":{"token" : "${OTHER}"}}]`,
    `"{\\"api_key\\":\\"${OTHER}\\",\\"b\\":2}"`,
    `nothing {"$token":"${OTHER}"`,
    `api_key=${OTHER}`,
    `{"writeKey":"${OTHER.slice(0, 9)}`,
  ])('%s', (raw) => {
    expect(masked(raw)).not.toContain(OTHER.slice(0, 9));
    expect(masked(raw)).toContain(MASK);
  });
});

test('the token that admitted the request is in nothing that is kept, and the rest of an event is unchanged', () => {
  const value = fc.letrec<{ any: unknown }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 3 },
      fc.string(),
      fc.integer(),
      fc.constant(TOKEN),
      fc.constant(`a ${TOKEN} b`),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom('writeKey', 'properties', 'token', 'a', '__proto__'), tie('any'), { maxKeys: 4 }),
    ),
  })).any;
  fc.assert(
    fc.property(value, fc.nat(40), (sent, cut) => {
      const whole = Buffer.from(JSON.stringify(sent)).toString('latin1');
      for (const raw of [whole, whole.slice(0, whole.length - cut)]) expect(masked(raw)).not.toContain(TOKEN);
      const clean = whole.replaceAll(TOKEN, 'x');
      const isClean = !/"(?:writeKey|token)"/.test(clean) && typeof sent === 'object' && !Array.isArray(sent);
      if (isClean && sent !== null) expect(masked(clean)).toBe(clean);
    }),
  );
});
