import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { expect, test } from 'vitest';
import { parseConfig } from '../src/config/config.ts';
import { envExample } from '../src/config/example.ts';
import { SETTING_NAMES } from '../src/config/settings.ts';

const EXAMPLE = readFileSync(new URL('../.env.example', import.meta.url), 'utf8');

function none(): never {
  throw Object.assign(new Error('missing'), { code: 'ENOENT' });
}

test('.env.example is what `weir config --example` prints', () => {
  expect(EXAMPLE).toBe(envExample());
});

test('with every line uncommented it is the default configuration', () => {
  const env = parseEnv(EXAMPLE.replaceAll(/^# (?=[A-Z0-9_]+=)/gm, ''));
  expect(Object.keys(env).sort()).toEqual([...SETTING_NAMES].sort());
  const { effective: _, ...fromExample } = parseConfig(env, none);
  const { effective: __, ...fromNothing } = parseConfig({}, none);
  expect(fromExample).toEqual(fromNothing);
});
