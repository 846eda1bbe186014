import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '..');
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const operations = read('docs/OPERATIONS.md');

/** The messages that are written at `warn` and above, as they stand in the code. */
function loudMessages(): string[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  const call = /\blog\.(?:warn|error|fatal)\(\s*\{[^]*?\},\s*'([^']+)'/g;
  return files.flatMap((file) => [...read(join('src', file)).matchAll(call)].map(([, message]) => message!));
}

describe('OPERATIONS.md', () => {
  test.each([...new Set(loudMessages())])('says what "%s" means', (message) => {
    expect(operations).toContain(`\`${message.split(':')[0]}`);
  });

  test('the search for messages finds some', () => {
    expect(loudMessages()).toEqual(
      expect.arrayContaining(['insert failed', 'no store accepts the batch', 'drain pass failed']),
    );
  });

  test.each(
    ['src/http/health/health.ts', 'src/http/health/stalls.ts'].flatMap((file) =>
      [...read(file).matchAll(/reasons\.push\(\s*(?:`\$\{[^}]*\} |['`])([a-zA-Z][^'`$,:(]*)/g)].map(
        (found) => found[1]!,
      ),
    ),
  )('explains the reason "%s"', (reason) => {
    expect(operations).toContain(reason.trim());
  });

  test.each(
    [...read('src/metrics/metrics.ts').matchAll(/\bweir_\w+(?=:|')/g)]
      .map(([name]) => name)
      .filter((name) => /up$|unhomed|intake|breaker_open|lost/.test(name)),
  )('has an alert on %s', (name) => {
    expect(operations).toContain(name);
  });
});

test('every refusal that a client can see is in API.md with its status', () => {
  const api = read('docs/API.md');
  for (const [, code, status] of read('src/http/answers/refusals.ts').matchAll(/^ {2}(\w+): \{\s*status: (\d+)/gm)) {
    const line = api.split('\n').find((text) => text.startsWith('|') && text.includes(`\`${code}\``));
    expect(line, code).toContain(status);
  }
});
