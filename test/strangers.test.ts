import { beforeEach, expect, test } from 'vitest';
import { createForeignAnswers } from '../src/clickhouse/connection/foreign-answers.ts';
import { NotClickHouse } from '../src/clickhouse/connection/verified-answers.ts';
import { createLog } from '../src/log/log.ts';
import { createManualClock } from './support/clock.ts';

let clock: ReturnType<typeof createManualClock>;
let lines: { msg: string; status: number }[];
let strangers: ReturnType<typeof createForeignAnswers>;

beforeEach(() => {
  clock = createManualClock();
  lines = [];
  const write = (line: string) => void lines.push(JSON.parse(line) as (typeof lines)[number]);
  strangers = createForeignAnswers({ clock, log: createLog('info', { write }) });
});

const page = new NotClickHouse(200, 'text/html');

test('nobody was seen: nothing to say', () => {
  expect(strangers.notice()).toBe(null);
});

test('one that goes on answering is said once, and noticed until half a minute after it was last seen', async () => {
  for (let second = 0; second < 120; second++) {
    strangers.saw(page);
    await clock.advance(1_000);
  }
  expect(lines).toMatchObject([{ msg: page.message, status: 200 }]);
  expect(strangers.notice()).toBe(page.message);
  await clock.advance(30_000);
  expect(strangers.notice()).toBe(null);
});

test('one that comes back is said again, and another one at once', async () => {
  strangers.saw(page);
  await clock.advance(31_000);
  strangers.saw(page);
  strangers.saw(new NotClickHouse(204, 'no Content-Type'));
  expect(lines.map(({ status }) => status)).toEqual([200, 200, 204]);
  expect(strangers.notice()).toContain('HTTP 204');
});

test('many different ones are bounded, and the latest is known', () => {
  for (let n = 0; n < 1_000; n++) strangers.saw(new NotClickHouse(200, `text/${n}`));
  expect(strangers.notice()).toContain('text/999');
});

test('what only finds a body too large is a limit, no stranger', () => {
  strangers.saw(new NotClickHouse(413, 'text/html'));
  expect([strangers.notice(), lines]).toEqual([null, []]);
});
