/** Finds members of an object that is itself a member of an event, and gives its text without some of them. */
import { createScanner, enter, nextKey, scanValue } from './json.ts';
import type { Members } from './json-members.ts';
import { rawValueOf, valueStartOf } from './json-members.ts';
import { createKeyFinder } from './names.ts';

export type InnerMembers = {
  /** The raw value of each name, in the picker's order; undefined where it is absent. */
  readonly values: readonly (string | undefined)[];
  /** The object as sent, without the members that are cut out. */
  readonly text: string;
};

/** `isCut`: which of the names are cut out. A member that is sent twice counts where it was sent last. */
export function createInnerPicker(
  names: readonly string[],
  isCut: readonly boolean[],
): (members: Members, member: number) => InnerMembers {
  const findName = createKeyFinder(names);
  const cutsAny = isCut.includes(true);

  return (members, member) => {
    const { tape } = members;
    const raw = rawValueOf(members, member);
    const values: (string | undefined)[] = names.map(() => undefined);
    if (raw[0] !== '{') return { values, text: raw };
    const start = valueStartOf(members, member);
    const scanner = createScanner(tape.bytes, tape.text, false, start);
    const cutter = cutsAny ? createCutter(tape.text, start) : null;
    enter(scanner);
    while (nextKey(scanner)) {
      const { keyStart, keyEnd, at } = scanner;
      if (!scanValue(scanner)) break;
      const place = findName(tape.bytes, tape.text, keyStart, keyEnd);
      if (place >= 0) values[place] = tape.text.slice(at, scanner.at);
      cutter?.member(keyStart, scanner.at, place >= 0 && isCut[place]!);
    }
    return { values, text: cutter === null ? raw : cutter.finish(raw, start + raw.length) };
  };
}

/** Cuts members out of an object's text, each with one comma. */
function createCutter(text: string, start: number) {
  const cuts: [from: number, to: number][] = [];
  let lastEnd = start + 1;
  let hasKept = false;
  /** A cut in front of the first remaining member extends to that one's key. */
  let open: [from: number, to: number] | null = null;
  return {
    member(keyStart: number, end: number, isCut: boolean) {
      if (open !== null) cuts.push([open[0], keyStart]);
      open = null;
      if (!isCut) hasKept = true;
      else if (hasKept) cuts.push([lastEnd, end]);
      else open = [keyStart, end];
      lastEnd = end;
    },
    finish(raw: string, end: number): string {
      if (open !== null) cuts.push(open);
      if (cuts.length === 0) return raw;
      let kept = '';
      let at = start;
      for (const [from, to] of cuts) {
        kept += text.slice(at, from);
        at = to;
      }
      return kept + text.slice(at, end);
    },
  };
}
