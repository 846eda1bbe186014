/**
 * How a sent id becomes the event's id: unchanged, as the UUID that it spells differently, or as a UUID derived from
 * it.
 */
import { stringOf } from './raw-json.ts';
import { isPlaceholderId } from './placeholder-ids.ts';
import { isRefusal, readId } from './text.ts';
import { readUuid, uuidOf } from './uuid.ts';

/** The raw text of an id for which no event is refused, however long it is; null where the value is no id. */
export function readOtherId(raw: string): string | null {
  const id = readId(raw, Infinity);
  return isRefusal(id) ? null : id;
}

/**
 * The UUID for the raw text of an id, always the same for the same id; null for a placeholder, which would turn all of
 * a program's events into one. `scope` is what an id counts together with when it may not be the event's own.
 */
export function uuidOfId(rawId: string, scope: () => string): string | null {
  const id = stringOf(rawId);
  return readUuid(id) ?? (isPlaceholderId(id) ? null : uuidOf(id + scope()));
}
