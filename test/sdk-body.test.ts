/** The work that a body of a client of others may cause, whoever sends it: in steps, each byte a few times at most. */
import { expect, test } from 'vitest';
import { isBodyProblem } from '../src/event/envelope.ts';
import { firstTokenIn, readSdkBody, type SdkBody, type SdkShape } from '../src/event/sdk-body.ts';
import { EVENTS_A_STEP, finish, type Steps } from '../src/event/steps.ts';

const LINES: SdkShape = { lists: [], mayFollow: true };

function counted<T>(steps: Steps<T>): { value: T; stepCount: number } {
  for (let stepCount = 1; ; stepCount += 1) {
    const step = steps.next();
    if (step.done) return { value: step.value, stepCount };
  }
}

function read(body: string, shape = LINES): SdkBody {
  const outcome = finish(readSdkBody(Buffer.from(body), shape));
  if (isBodyProblem(outcome)) throw new Error(outcome.message);
  return outcome;
}

test('a token is looked for in steps', () => {
  const { events } = read(`${'{}'.repeat(2 * EVENTS_A_STEP)}{"token":"t"}`);
  expect(counted(firstTokenIn(events, ['token']))).toEqual({ value: 't', stepCount: 3 });
  const large = `{"a":"${'x'.repeat(200_000)}"}`;
  expect(counted(firstTokenIn(read(large.repeat(5)).events, ['token']))).toEqual({ value: null, stepCount: 3 });
});
