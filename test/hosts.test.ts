import { expect, test } from 'vitest';
import { isListenHost } from '../src/net/hosts.ts';
import { urlOf } from '../src/service/open-console.ts';

test.each([
  ['127.0.0.1', 'http://127.0.0.1:8080'],
  ['weir.internal', 'http://weir.internal:8080'],
  ['::1', 'http://[::1]:8080'],
  ['fd00::2', 'http://[fd00::2]:8080'],
  ['::ffff:127.0.0.1', 'http://[::ffff:127.0.0.1]:8080'],
  ['0.0.0.0', 'http://localhost:8080'],
  ['::', 'http://localhost:8080'],
  // Every spelling of every address.
  ['0', 'http://localhost:8080'],
  ['::0', 'http://localhost:8080'],
  ['0:0:0:0:0:0:0:0', 'http://localhost:8080'],
])('a service that listens on %s is found at %s', (host, url) => {
  expect(isListenHost(host)).toBe(true);
  expect(urlOf({ host }, 8080)).toBe(url);
  expect(URL.canParse(url)).toBe(true);
});

test.each(['fe80::1%eth0', '[::1]', '::1::', 'localhost:8080', 'a%41b', 'a/b', 'user@host', ''])(
  'no URL can name %j',
  (host) => expect(isListenHost(host)).toBe(false),
);
