/** What is said where no event was found: never that one is lost, unless every place was asked about it. */
import type { FindAnswer } from '../../watch/answers.ts';
import { instant } from '../parts/words.ts';

export function whereItIsNot(by: string, { requests, requestsSince, looked }: FindAnswer): string {
  if (by !== 'requestId') {
    const isEverywhere = Object.values(looked).every((how) => how === 'all');
    return isEverywhere ? NOWHERE : 'It was not found in what could be looked through.';
  }
  if (requests.length === 0) {
    if (looked.pending === 'unavailable') return 'The service does not answer, which alone knows of requests.';
    const since = requestsSince === null ? 'None has come yet.' : `Those since ${instant(requestsSince)} UTC are.`;
    return `No request with this id is remembered. ${since} Look for its events by their ids, or by the user.`;
  }
  if (requests.some(({ accepted }) => accepted > 0)) {
    return 'Which events it brought is no longer remembered. Look for them by their ids, or by the user.';
  }
  return 'None of its events was taken, and none is among the rejected events that are kept.';
}

const NOWHERE =
  'It is nowhere: not stored, not pending, no dead letter, not among the rejected events that are kept. Either it was never accepted, or it expired, or it was discarded.';
