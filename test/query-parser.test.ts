import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const PARSING = `
  const { createQueryParser } = await import(process.argv[1]);
  const { parse } = createQueryParser();
  const { setTimeout: sleep } = await import('node:timers/promises');
  // V8 compiles what is used often again, in the background.
  for (let round = 0; round < 10; round++) {
    for (let query = 0; query < 20; query++) await parse('SELECT event, count(*) FROM events WHERE user_id = $$u$$ GROUP BY event');
    await sleep(300);
  }
  process.stdout.write(String(Math.round(process.resourceUsage().maxRSS / 1024)));
`;

test('parsing in Postgres’s own grammar takes a few MiB, and no half of a gigabyte for compiling it', async () => {
  const module = new URL('../src/postgres/reading/query-parser.ts', import.meta.url).href;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', PARSING, module]);
  expect(Number(stdout)).toBeGreaterThan(20);
  expect(Number(stdout)).toBeLessThan(250);
});
