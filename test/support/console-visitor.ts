/** Somebody who is signed in to a console that runs, without a browser. */
import { createConsoleLinks } from '../../src/postgres/accounts/console-links.ts';
import { until } from '../chaos/rig.ts';
import type { Stores } from './stores.ts';

const API = '/api/v1/operator';
const LINK_VALID_MS = 60_000;

export type Frame = { readonly name: string; readonly data: unknown };

export type LiveReader = {
  readonly status: number;
  /** The frames so far. */
  readonly frames: readonly Frame[];
  /** Of all frames of that name. */
  all<Data>(name: string): Data[];
  close(): void;
};

export type Visitor = {
  readonly origin: string;
  get(path: string): Promise<Response>;
  /** The body of an answer that has to be 200. */
  read<Body>(path: string): Promise<Body>;
  /** Opens `GET /live`, and reads it unless `isRead` is false. */
  live(query?: string, options?: { readonly isRead?: boolean }): Promise<LiveReader>;
  leave(): void;
};

/** Signs in to the console on that port, once it listens. */
export async function visitConsole({ postgres: { db } }: Pick<Stores, 'postgres'>, port: number): Promise<Visitor> {
  const origin = `http://127.0.0.1:${port}`;
  await until('a console', async () => (await fetch(origin).catch(() => null)) !== null);
  const link = await createConsoleLinks(db).make({ name: 'visitor', validMs: LINK_VALID_MS });
  const signedIn = await fetch(`${origin}${API}/session`, {
    method: 'POST',
    headers: { Origin: origin, 'Content-Type': 'application/json' },
    body: JSON.stringify({ link }),
  });
  if (!signedIn.ok) throw new Error(`cannot sign in: ${signedIn.status} ${await signedIn.text()}`);
  const cookie = signedIn.headers.getSetCookie()[0]!.split(';')[0]!;
  const readers = new Set<LiveReader>();
  /** An answer that is not read ends once nobody holds it. */
  const unread = new Set<Response>();
  const get = (path: string, signal?: AbortSignal) =>
    fetch(`${origin}${API}${path}`, { headers: { Cookie: cookie }, ...(signal && { signal }) });

  return {
    origin,
    get: (path) => get(path),
    async read<Body>(path: string) {
      const answer = await get(path);
      if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
      return (await answer.json()) as Body;
    },
    async live(query = '', { isRead = true } = {}) {
      const leaving = new AbortController();
      const answer = await get(`/live${query}`, leaving.signal);
      const read = readFrames();
      const reader: LiveReader = {
        status: answer.status,
        get frames() {
          return read.frames();
        },
        all: <Data>(name: string) =>
          read
            .frames()
            .filter((frame) => frame.name === name)
            .map(({ data }) => data as Data),
        close: () => leaving.abort(),
      };
      readers.add(reader);
      // Ends with an error when it is left.
      if (isRead && answer.status === 200) void read.from(answer).catch(() => {});
      else unread.add(answer);
      return reader;
    },
    leave() {
      for (const reader of readers) reader.close();
    },
  };
}

/** Parsed when somebody asks for them: a page that reads is no part of what a benchmark measures. */
function readFrames() {
  const frames: Frame[] = [];
  const unread: Uint8Array[] = [];
  const decoder = new TextDecoder();
  let text = '';

  return {
    async from(answer: Response): Promise<void> {
      for await (const chunk of answer.body!) unread.push(chunk);
    },
    frames(): readonly Frame[] {
      for (const chunk of unread.splice(0)) text += decoder.decode(chunk, { stream: true });
      const parts = text.split('\n\n');
      text = parts.pop()!;
      for (const part of parts) {
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(part) ?? [];
        if (name !== undefined) frames.push({ name, data: JSON.parse(data!) as unknown });
      }
      return frames;
    },
  };
}
