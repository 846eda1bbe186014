import type { DoorReceiver } from '../../src/http/ingest/door-router.ts';
import type { Receive } from '../../src/http/request/door-request.ts';

/** Front doors by path, each named by its own. */
export function receiversOf(doors: Record<string, Receive>): ReadonlyMap<string, DoorReceiver> {
  return new Map(Object.entries(doors).map(([path, receive]) => [path, { route: path, receive }]));
}
