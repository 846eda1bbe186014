/** What every family of clients is held to: each recorded request is replayed, and becomes the rows that its mapping says. */
import { afterAll, describe, expect, test } from 'vitest';
import { PROJECT } from './factory.ts';
import {
  type Answered,
  type Recorded,
  type Variation,
  recordings,
  resend,
  withOtherSlash,
  withTwoSlashes,
} from './recorded.ts';
import { type Row, type ServedApp, serveApp, TOKEN } from './served-app.ts';

/** The columns that a mapping says; the others are the same for every event. */
export type Mapped = {
  /** Null where the server makes it. */
  readonly event_id: string | null;
  readonly event: string;
  readonly anonymous_id: string | null;
  readonly user_id: string | null;
  /** RFC 3339; null where it is when the event was received. */
  readonly timestamp: string | null;
  readonly session_id: string | null;
  readonly properties: unknown;
  readonly extras: unknown;
};

export type Family = {
  readonly family: string;
  readonly source?: string;
  /** The rows of a request that carries events; null for one that carries none. */
  readonly rows: (recorded: Recorded) => readonly Mapped[] | null;
  /** What is answered to a request with events; to any other, what `answer` does not know, by status alone. */
  readonly answer: (recorded: Recorded, answered: Answered) => void;
  /** The clock of the server while the request is there; by default that of the client. */
  readonly at?: (recorded: Recorded) => number;
  /** Whether the ids of two sendings are the same; by default they are. */
  readonly isRepeatable?: (row: Mapped) => boolean;
  /** Where the requests go; by default where they went. */
  readonly path?: string;
  /** Whether a request says nothing without its headers. */
  readonly needsHeaders?: (recorded: Recorded) => boolean;
};

/** The latest instant in a request, which is about when it was sent. */
export function sentAtOf({ json, request }: Recorded): number {
  const text = JSON.stringify([json, request.headers, request.url]);
  const texts = [...text.matchAll(/2026-11-\d\dT[\d:.]+Z/g)].map(([instant]) => Date.parse(instant));
  const numbers = [...text.matchAll(/\b1795\d{9}\b/g)].map(([digits]) => Number(digits));
  return Math.max(...texts, ...numbers, Date.parse('2026-11-20T15:54:00Z')) + 250;
}

export function replay({
  family,
  source = family,
  rows,
  answer,
  at = sentAtOf,
  isRepeatable = () => true,
  path,
  needsHeaders = () => false,
}: Family): ServedApp {
  const served = servedApps.get(family)!;
  const all = recordings(family).map((recorded) => (path === undefined ? recorded : movedTo(path, recorded)));

  const variations: readonly (readonly [string, Variation])[] = [
    ['as recorded', {}],
    ['with no header but the token', { isBare: true }],
    ['with the other slash at its end', { respell: withOtherSlash }],
    ['with two slashes in front', { respell: withTwoSlashes }],
  ];

  test('there is something to replay', () => expect(all.length).toBeGreaterThan(0));

  describe.each(all)('$file', (recorded) => {
    const mapped = rows(recorded);

    test.each(variations)('%s', async (_how, variation) => {
      served.time.at = at(recorded);
      const once = await replayed(variation);
      const twice = await replayed(variation);
      if (mapped === null) return;
      // Two copies of one event are one: they have the same id.
      const ids = (some: readonly Row[]) =>
        some.filter((_, index) => isRepeatable(mapped[index]!)).map(({ event_id }) => event_id);
      expect(ids(twice)).toEqual(ids(once));
    });

    async function replayed(variation: Variation): Promise<readonly Row[]> {
      const isPreflight = recorded.request.method === 'OPTIONS';
      if ((isPreflight || needsHeaders(recorded)) && variation.isBare) return [];
      const answered = await resend(served.port, recorded, variation);
      const taken = await served.taken();
      expectCors(recorded, answered, variation);
      if (isPreflight) expect(answered.status).toBe(204);
      else answer(recorded, answered);
      const receivedAt = new Date(served.time.at).toISOString();
      expect(taken).toEqual(
        (mapped ?? []).map((row, index) => ({
          project_id: PROJECT,
          ...row,
          event_id: row.event_id ?? taken[index]?.event_id,
          timestamp: row.timestamp ?? receivedAt,
          source,
          received_at: receivedAt,
        })),
      );
      expect(JSON.stringify(taken)).not.toContain(TOKEN);
      return taken;
    }
  });

  test('no line of the log has the token', () => expect(served.lines.join('')).not.toContain(TOKEN));
  return served;
}

/** The same request to another path. */
const movedTo = (path: string, recorded: Recorded): Recorded => ({
  ...recorded,
  request: { ...recorded.request, url: path },
});

/** What a page's browser needs, of any answer. */
function expectCors({ request }: Recorded, { headers }: Answered, { isBare = false }: Variation): void {
  const { origin, 'access-control-request-headers': asked } = request.headers;
  if (origin === undefined || isBare) return;
  expect(headers['access-control-allow-origin']).toBe(origin);
  expect(headers['access-control-allow-credentials']).toBe('true');
  if (asked !== undefined) expect(headers['access-control-allow-headers']).toBe(asked);
}

const servedApps = new Map<string, ServedApp>();

/** To be awaited before `replay`. */
export async function appFor(family: string): Promise<ServedApp> {
  const served = await serveApp();
  servedApps.set(family, served);
  afterAll(() => served.server.close());
  return served;
}

/** An object without some of its members. */
export function without(object: object, ...names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));
}

/** The text that a lenient column holds: of a number its digits; null for what is none. */
export const textOf = (value: unknown): string | null =>
  typeof value === 'number' || typeof value === 'boolean'
    ? String(value)
    : typeof value === 'string' && value !== ''
      ? value
      : null;
