/**
 * The wire formats of analytics clients that exist already. Such a client throws a batch away when it is refused, and
 * cannot mend an event: so a quirk costs a field, which stays in the extras as it was sent, and never the event.
 */
import type { JsonSchema } from './kinds.ts';
import type { LenientText } from './lenient-text.ts';

/** A member of an event, `userId`; or of an object that is one, `context.sessionId`. */
export type Path = string;

/** What begins the names of members that Weir itself writes into events which it rewrites. */
export const REWRITTEN = 'weir:';

/** Gives the text at a path, read leniently; null where there is none. */
export type ReadPath = (path: Path) => LenientText | null;

/** A text under the first of its paths that has one. */
export type LenientField = {
  readonly paths: readonly Path[];
  /** Texts that stand for none. */
  readonly absent?: readonly string[];
};

/** Where an instant may stand: at a path; or as the milliseconds that the event is older than its request. */
export type InstantAt = { readonly at: Path; readonly unit?: 'µs' | 'ns' } | { readonly ago: Path };

/** Who an event is of. */
export type People = { readonly userId: LenientText | null; readonly anonymousId: LenientText | null };

export type LenientFormat = {
  readonly lenient: true;
  /** The name: under the first path that has a text, otherwise the constant; an event without one is rejected. */
  readonly event: { readonly paths?: readonly Path[]; readonly constant?: string };
  /** The first that can be read; an event without one happened when it was received. */
  readonly timestamp: readonly InstantAt[];
  /** Where an event says when it was sent, which counts before what the envelope says. */
  readonly sentAt?: readonly Path[];
  readonly userId?: LenientField;
  readonly anonymousId?: LenientField;
  readonly sessionId?: LenientField;
  /** Instead of both ids, where they depend on each other. */
  readonly people?: (read: ReadPath) => People;
  /**
   * One that is no UUID is hashed to one, together with what it is unique within: `scope` names all that is hashed, the
   * id too. `otherwise`: the id of an event without one, `record` being the hash of all of it and its place, for clients
   * whose retries are byte-identical; `made` is the default.
   */
  readonly eventId?: {
    readonly paths: readonly Path[];
    readonly scope?: readonly Path[];
    readonly otherwise?: 'record';
  };
  /** The first path that has an object; kept byte for byte. */
  readonly properties?: readonly Path[];
  /** Members that become the properties together, as they were sent. */
  readonly gathered?: readonly string[];
  /** Where there is no object for them, every member becomes one of the properties that nothing else reads, but for these. */
  readonly restButFor?: readonly string[];
  /** How members of the extras are spelt there. */
  readonly spelt?: Readonly<Record<string, (raw: string) => string>>;
  /** Where an event may have a token: it must be that of the request, and is never stored. */
  readonly tokens?: readonly Path[];
  /** Members that are not stored either. */
  readonly without?: readonly Path[];
  /** A reason of the format's own against an event. `read` also reads the paths that are named here. */
  readonly refuse?: { readonly paths: readonly Path[]; readonly reason: (read: ReadPath) => string | null };
  /** Paths that `people` reads. */
  readonly reads?: readonly Path[];
};

/** Formats that differ by a text of the event. */
export type LenientChoice = {
  readonly lenient: true;
  /** The name of the format, or why there is none. `hint`: what the request says of all its events. */
  readonly choose: (read: ReadPath, hint: string | null) => string | { readonly reason: string };
  /** Paths that `choose` reads. */
  readonly reads: readonly Path[];
  readonly formats: Readonly<Record<string, LenientFormat>>;
  /** For every other name. */
  readonly otherwise?: LenientFormat;
};

/** The JSON Schema of an event: whatever is an object is taken, or rejected by itself. */
export function lenientSchema(format: LenientFormat | LenientChoice): JsonSchema {
  const names = new Set(
    formatsOf(format)
      .flatMap(pathsOf)
      .map((path) => path.split('.')[0]!),
  );
  return { type: 'object', properties: Object.fromEntries([...names].map((name) => [name, {}])) };
}

/** The formats that may be chosen, or the one that it is. */
export function formatsOf(format: LenientFormat | LenientChoice): readonly LenientFormat[] {
  return 'choose' in format ? [...Object.values(format.formats), format.otherwise ?? []].flat() : [format];
}

/** Every path whose member is never stored: tokens, above all. */
export function unstoredPathsOf(format: LenientFormat | LenientChoice): readonly Path[] {
  return formatsOf(format).flatMap(({ tokens = [], without = [] }) => [...tokens, ...without]);
}

/** Every path that a format reads. */
export function pathsOf(format: LenientFormat): readonly Path[] {
  const { event, timestamp, sentAt, userId, anonymousId, sessionId, eventId, properties, tokens, without } = format;
  return [
    ...(event.paths ?? []),
    ...timestamp.map((place) => ('at' in place ? place.at : place.ago)),
    ...[userId, anonymousId, sessionId].flatMap((field) => field?.paths ?? []),
    ...(eventId?.paths ?? []),
    ...(eventId?.scope ?? []),
    ...[sentAt, properties, tokens, without, format.reads, format.refuse?.paths].flatMap((paths) => paths ?? []),
    ...(format.gathered ?? []),
    ...(format.restButFor ?? []),
    ...Object.keys(format.spelt ?? {}),
  ];
}
