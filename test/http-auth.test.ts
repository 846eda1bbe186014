import { describe, expect, test } from 'vitest';
import { authorize, hasOwnPrefix, presented, presentedInHeaders } from '../src/http/access/auth.ts';
import type { Credential } from '../src/pipeline/ports.ts';
import { OTHER_PROJECT, PROJECT } from './support/factory.ts';

const TOKEN = `mere_pub_${'0a'.repeat(32)}`;
const INVALID_REQUEST = { refused: 'unauthorized', challenge: 'invalid_request' };
const INVALID_TOKEN = { refused: 'unauthorized', challenge: 'invalid_token' };

describe('a token in the headers', () => {
  test.each<[string, Record<string, string>, unknown]>([
    ['none', {}, null],
    ['bearer', { authorization: `Bearer ${TOKEN}` }, { token: TOKEN, projectId: null }],
    ['bearer in any case, with more spaces', { authorization: `bEaReR   ${TOKEN}` }, { token: TOKEN, projectId: null }],
    ['api key', { 'x-api-key': TOKEN }, { token: TOKEN, projectId: null }],
    [
      'both: Authorization wins',
      { authorization: `Bearer ${TOKEN}`, 'x-api-key': 'other' },
      { token: TOKEN, projectId: null },
    ],
    [
      'another scheme beside an api key',
      { authorization: 'Basic eDp5', 'x-api-key': TOKEN },
      { token: TOKEN, projectId: null },
    ],
    ['with its project', { authorization: `Bearer ${PROJECT}:${TOKEN}` }, { token: TOKEN, projectId: PROJECT }],
    [
      'with its project in capitals',
      { 'x-api-key': `${PROJECT.toUpperCase()}:${TOKEN}` },
      { token: TOKEN, projectId: PROJECT },
    ],
    ['colons that name no project', { 'x-api-key': 'a:b' }, { token: 'a:b', projectId: null }],
    ['another scheme', { authorization: 'Basic eDp5' }, INVALID_REQUEST],
    ['no scheme', { authorization: TOKEN }, INVALID_REQUEST],
    ['bearer of nothing', { authorization: 'Bearer' }, INVALID_REQUEST],
    ['two words', { authorization: 'Bearer one two' }, INVALID_REQUEST],
    ['empty Authorization', { authorization: '' }, INVALID_REQUEST],
    ['empty api key', { 'x-api-key': '' }, INVALID_REQUEST],
    ['an endless one', { authorization: `Bearer ${'x'.repeat(513)}` }, INVALID_TOKEN],
  ])('%s', (_name, headers, expected) => {
    const found = presentedInHeaders(headers);
    if (expected === null) expect(found).toBeNull();
    else expect(found).toMatchObject(expected as object);
  });
});

test.each([
  [TOKEN, true],
  [`mere_sec_${'0a'.repeat(32)}`, true],
  ['phc_an_imported_one', false],
  ['MERE_PUB_00', false],
])('%s is looked up at the native door: %s', (token, expected) => {
  expect(hasOwnPrefix({ token, projectId: null })).toBe(expected);
});

test('a hostile token is judged in linear time', () => {
  for (const hostile of ['a-'.repeat(256), ':'.repeat(512), `${PROJECT}${':'.repeat(400)}`]) presented(hostile);
});

const credential: Credential = {
  projectId: PROJECT,
  kind: 'public',
  retentionSeconds: null,
  allowedOrigins: ['https://shop.example'],
};
const nobody = {
  find: async () => null,
  anonymous: async () => null,
  admitAnonymous: () => {},
  hasUsable: () => true,
};
const check = (found: Credential | null, projectId: string | null = null, origin?: string) =>
  authorize({ ...nobody, find: async () => found }, { token: TOKEN, projectId }, origin);
const failToFind = () => Promise.reject(new Error('connect ECONNREFUSED 10.0.0.7:5432'));

describe('a credential', () => {
  test('is good for its project, from an allowed page or from no page', async () => {
    expect(await check(credential)).toBe(credential);
    expect(await check(credential, PROJECT, 'https://shop.example')).toBe(credential);
  });

  test('is not good for another project, or from another page', async () => {
    expect(await check(null)).toMatchObject(INVALID_TOKEN);
    expect(await check(credential, OTHER_PROJECT)).toMatchObject(INVALID_TOKEN);
    expect(await check(credential, null, 'https://evil.example')).toMatchObject({ refused: 'forbidden' });
    expect(await check(credential, null, 'null')).toMatchObject({ refused: 'forbidden' });
    expect(await check({ ...credential, allowedOrigins: [] }, null, 'https://evil.example')).toMatchObject({
      projectId: PROJECT,
    });
  });

  test('that cannot be looked up is our failure, not the client’s', async () => {
    const refusal = await authorize({ ...nobody, find: failToFind }, { token: TOKEN, projectId: null }, undefined);
    expect(refusal).toMatchObject({ refused: 'internal' });
    expect(JSON.stringify(refusal)).not.toContain('10.0.0.7');
  });
});
