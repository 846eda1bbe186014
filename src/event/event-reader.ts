/** Reads the members of an event by paths that are known beforehand, such as `userId` and `context.sessionId`. */
import { createFieldPicker, type Picked } from './fields.ts';
import { createInnerPicker, type InnerMembers } from './inner-members.ts';
import { type Members, rawValueOf } from './json-members.ts';
import type { Path, ReadPath } from './lenient-format.ts';
import { type LenientText, readLenient } from './lenient-text.ts';

/** The value at a path: raw, `null` for none; and the event's member that it is, -1 for a part of one. */
export type Found = { readonly raw: string; readonly member: number };

/** Reads one event after the other, each until it is closed. */
export type EventReader = {
  open(members: Members): void;
  /** Lets go of the event, and with it of the whole body that it is a part of. */
  close(): void;
  find(path: Path): Found;
  readonly read: ReadPath;
  /** The member's value without the parts that are never stored. */
  textOf(member: number): string;
  /** The place among the fields of `picked` of a name that a path begins with. */
  fieldOf(name: string): number;
  /** The member with that name; -1 for none. */
  memberOf(name: string): number;
  /** Whether the member is one that a path begins with. */
  isKnown(member: number): boolean;
  picked(): Picked;
};

const NOTHING: Found = { raw: 'null', member: -1 };
const NONE: Picked = { byField: [], strays: [] };

type Place = { readonly field: number; readonly inner: number };

/**
 * Created once for a format: most of its work is done beforehand, and nothing of an event is read before it is needed.
 * `cut`: the paths that are never stored.
 */
export function createEventReader(paths: readonly Path[], cut: readonly Path[]): EventReader {
  const names = [...new Set(paths.map(headOf))];
  const fieldOf = new Map(names.map((name, field) => [name, field]));
  const pickFields = createFieldPicker(names.map((name) => [name]));
  const innerNames = names.map((name) => [
    ...new Set(paths.filter((path) => path.startsWith(`${name}.`)).map((path) => path.slice(name.length + 1))),
  ]);
  const pickInner = innerNames.map((inner, field) =>
    inner.length === 0
      ? null
      : createInnerPicker(
          inner,
          inner.map((name) => cut.includes(`${names[field]!}.${name}`)),
        ),
  );
  const hasCuts = innerNames.map((inner, field) => inner.some((name) => cut.includes(`${names[field]!}.${name}`)));
  const places = new Map<Path, Place>(
    paths.map((path) => {
      const field = names.indexOf(headOf(path));
      const inner = path.includes('.') ? innerNames[field]!.indexOf(path.slice(names[field]!.length + 1)) : -1;
      return [path, { field, inner }];
    }),
  );
  let event: Members | null = null;
  let picked: Picked = NONE;
  /** By field: what was found in a member that is an object; null where nothing was looked for yet. */
  const looked: (InnerMembers | null)[] = names.map(() => null);

  return {
    open,
    close,
    find,
    read,
    textOf,
    fieldOf: (name) => fieldOf.get(name)!,
    memberOf,
    isKnown,
    picked: () => picked,
  };

  function open(members: Members): void {
    event = members;
    picked = pickFields(members);
  }

  function close(): void {
    event = null;
    looked.fill(null);
  }

  function find(path: Path): Found {
    const { field, inner } = places.get(path)!;
    const member = picked.byField[field]!;
    if (member < 0) return NOTHING;
    if (inner < 0) return { raw: rawValueOf(event!, member), member };
    return { raw: lookInto(field, member).values[inner] ?? 'null', member: -1 };
  }

  function read(path: Path): LenientText | null {
    const { field, inner } = places.get(path)!;
    const member = picked.byField[field]!;
    if (member < 0) return null;
    if (inner < 0) return readLenient(rawValueOf(event!, member), member);
    const raw = lookInto(field, member).values[inner];
    return raw === undefined ? null : readLenient(raw, -1);
  }

  function lookInto(field: number, member: number): InnerMembers {
    return (looked[field] ??= pickInner[field]!(event!, member));
  }

  function textOf(member: number): string {
    const field = picked.byField.indexOf(member);
    return field >= 0 && hasCuts[field] ? lookInto(field, member).text : rawValueOf(event!, member);
  }

  function memberOf(name: string): number {
    const field = fieldOf.get(name);
    return field === undefined ? -1 : picked.byField[field]!;
  }

  function isKnown(member: number): boolean {
    return picked.byField.includes(member);
  }
}

const headOf = (path: Path): string => path.split('.', 1)[0]!;
