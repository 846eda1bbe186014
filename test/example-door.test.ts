/** The example of docs/adding-a-door.md, mounted as any door is. */
import { readFileSync } from 'node:fs';
import { afterAll, expect, test, vi } from 'vitest';
import { candidatesOf } from './support/candidates.ts';
import { readingsDoor } from './support/example-door.ts';
import { PROJECT } from './support/factory.ts';
import { serveDoors } from './support/served-doors.ts';

const { url, server, channel, scheduler, description } = await serveDoors([readingsDoor]);
const [path] = readingsDoor.paths;
afterAll(() => server.close());

async function send(body: unknown, token = 'good') {
  const headers = { authorization: `Bearer ${token}` };
  const response = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
  const { status } = response;
  const text = await response.text();
  const answer = { status, headers: response.headers, text };
  expect(description.problemsWithAnswer(description.operation('POST', path), answer)).toEqual([]);
  return { status, json: JSON.parse(text) as Record<string, unknown> };
}

test('the page shows the door as it is', () => {
  const page = readFileSync(new URL('../docs/adding-a-door.md', import.meta.url), 'utf8');
  const source = readFileSync(new URL('support/example-door.ts', import.meta.url), 'utf8');
  const [, shown] = /```ts\n(import [\s\S]*?)```/.exec(page) ?? [];
  const app = readFileSync(new URL('../src/http/app.ts', import.meta.url), 'utf8');
  const [, doors] = /^(const DOORS: .*)\];$/m.exec(app)!;
  expect(page).toContain(`\n${doors}, readingsDoor];\n`);
  expect(shown).toBe(
    source
      .replaceAll('../../src/http/ingest/doors/', './')
      .replaceAll('../../src/http/', '../../')
      .replaceAll('../../src/', '../../../'),
  );
});

test('an event sent through it becomes a row', async () => {
  const sent = [{ ...(readingsDoor.example as object[])[0], site: 'north', firmware: 7 }];
  expect(await send(sent)).toEqual({ status: 202, json: { accepted: 1, rejected: 0 } });
  const batch = (await channel.take())!;
  expect(JSON.parse(Buffer.concat([...batch.chunks]).toString())).toMatchObject({
    project_id: PROJECT,
    source: 'readings',
    event: 'temperature',
    anonymous_id: 'roof-3',
    timestamp: '2026-05-04T12:30:00.000Z',
    properties: { value: 21.5, unit: 'C' },
    extras: { site: 'north', firmware: 7 },
  });
  channel.settle(batch, 'stored');
});

test('nothing of a body is looked at before its turn', async () => {
  const wait = Promise.withResolvers<void>();
  const asked = vi.spyOn(scheduler, 'take').mockReturnValueOnce(wait.promise);
  const sent = readingsDoor.example as object[];
  const answer = send(sent);
  await vi.waitFor(() => expect(asked).toHaveBeenCalledWith(JSON.stringify(sent).length));
  expect((await send([{ kind: 'k' }])).json['accepted']).toBe(0);
  expect(channel.usage()).toMatchObject({ events: 0 });
  wait.resolve();
  expect(await answer).toEqual({ status: 202, json: { accepted: 1, rejected: 0 } });
  channel.settle((await channel.take())!, 'stored');
});

test('it takes exactly what its description allows', async () => {
  const at = '/components/schemas/ReadingsEvent';
  const events = candidatesOf(description.schema({ $ref: `#${at}` }), description.schema, PROJECT);
  for (const event of [
    ...events,
    { kind: 'k', timestamp: 1, device: 'd', value: 1 },
    { kind: 'k', device: 'd', value: 1 },
  ]) {
    const { json } = await send([event]);
    expect(json['accepted'], JSON.stringify(event)).toBe(description.problemsWith(at, event).length === 0 ? 1 : 0);
  }
});

test('it refuses what every door refuses', async () => {
  expect(await send([], 'unknown')).toMatchObject({ status: 401, json: { code: 'unauthorized' } });
  expect(await send([])).toMatchObject({ status: 400, json: { code: 'invalid_envelope' } });
  expect(await send(Array.from({ length: 501 }, () => ({})))).toMatchObject({
    status: 400,
    json: { code: 'too_many_events' },
  });
});
