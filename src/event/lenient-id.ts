/** The id of an event: the one it was sent with, one made of that, or one made of the whole record. */
import type { DecodeContext } from './decoding.ts';
import { readOtherId } from './event-id.ts';
import type { EventReader } from './event-reader.ts';
import type { Members } from './json-members.ts';
import type { LenientFormat } from './lenient-format.ts';
import { wholeOf } from './lenient-members.ts';
import { isPlaceholderId } from './placeholder-ids.ts';
import { stringOf } from './raw-json.ts';
import { isUuid, readUuid, uuidOf } from './uuid.ts';

/** The id to store, null for one that the server is to make; and the member that says just the same. */
export type EventId = { readonly uuid: string | null; readonly member: number };

/** `index`: the place of the event in its request. `isTimeKnown`: whether it says when it happened. */
export type IdOf = (members: Members, reader: EventReader, index: number, isTimeKnown: boolean) => EventId;

/** The outer function is called once per request. */
export function lenientId(idField: LenientFormat['eventId'], { projectId }: Pick<DecodeContext, 'projectId'>): IdOf {
  return idOf;

  function idOf(members: Members, reader: EventReader, index: number, isTimeKnown: boolean): EventId {
    for (const path of idField?.paths ?? []) {
      const { raw, member } = reader.find(path);
      const id = readOtherId(raw);
      if (id === null) continue;
      const bare = id.slice(1, -1);
      if (isUuid(bare)) return { uuid: bare.toLowerCase(), member };
      const words = stringOf(id);
      const uuid = readUuid(words) ?? (isPlaceholderId(words) ? null : uuidOf(scopedText(reader, words)));
      if (uuid !== null) return { uuid, member: -1 };
    }
    if (idField?.otherwise !== 'record' || !isTimeKnown) return { uuid: null, member: -1 };
    return { uuid: uuidOf(`${projectId}\n${index}\n${wholeOf(members)}`), member: -1 };
  }

  function scopedText({ find }: EventReader, id: string): string {
    const scope = idField?.scope;
    return scope === undefined ? id : scope.map((path) => wholeWordsOf(find(path).raw) ?? '').join('\n');
  }
}

/** What an id says, however long it is. */
export function wholeWordsOf(raw: string): string | null {
  const id = readOtherId(raw);
  return id === null ? null : stringOf(id);
}
