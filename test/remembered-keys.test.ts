/** What stays in memory of a request that was answered. */
import { expect, test } from 'vitest';
import { nativeDoor } from '../src/http/ingest/doors/native.ts';
import { heldBytes } from './support/garbage.ts';
import { serveDoors } from './support/served-doors.ts';

test('a batch_id, which is remembered, does not keep the body that it stood in', async () => {
  const { url, server } = await serveDoors([{ ...nativeDoor, withoutHeader: 'any token in body' }]);
  const sendAs = async (id: string) => {
    const body = `{"batch_id":"this batch has the number ${id}","events":[]}${' '.repeat(900_000)}`;
    const headers = { authorization: 'Bearer good' };
    const { status } = await fetch(url + nativeDoor.paths[0], { method: 'POST', headers, body });
    expect(status).toBe(200);
  };
  // What is made once is there then.
  for (let warm = 0; warm < 5; warm += 1) await sendAs(`w${warm}`);
  const before = heldBytes();
  for (let sent = 0; sent < 60; sent += 1) await sendAs(String(sent));
  expect(heldBytes() - before).toBeLessThan(20_000_000);
  await server.close();
});
