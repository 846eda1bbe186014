/** Where clients of others have their tokens is known beforehand: nothing is made of it for a request. */
import { expect, test, vi } from 'vitest';
import { isBodyProblem } from '../src/event/envelope.ts';
import { finish } from '../src/event/steps.ts';
import type { Door, Opened } from '../src/http/ingest/doors/door.ts';
import { sdkDoors } from '../src/http/ingest/doors/sdk-doors.ts';

const { readersMade } = vi.hoisted(() => ({ readersMade: { count: 0 } }));
vi.mock(import('../src/event/event-reader.ts'), async (original) => {
  const { createEventReader } = await original();
  return {
    createEventReader: (...of) => {
      readersMade.count += 1;
      return createEventReader(...of);
    },
  };
});

/** Opens a body as a request does that has no token elsewhere, and returns the token. */
function tokenFrom({ body, paths, example }: Door): string | null {
  if (body.kind !== 'whole') return null;
  const path = paths[0];
  const head = { method: 'POST' as const, path, target: path, headers: {}, query: () => new URLSearchParams() };
  const opened = finish(body.open(Buffer.from(JSON.stringify(example)), {}, head));
  expect(opened).not.toSatisfy(isBodyProblem);
  const { token = null } = opened as Opened;
  return typeof token === 'function' ? finish(token()) : token;
}

test.each(sdkDoors.map((door) => [door.paths[0], door] as const))('%s', (_path, door) => {
  tokenFrom(door);
  readersMade.count = 0;
  tokenFrom(door);
  expect(readersMade.count).toBe(0);
});
