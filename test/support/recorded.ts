/** Requests that the real clients sent, recorded, and how they are sent again. `test/sdk/README.md` says what they are. */
import { globSync, readFileSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';

export type Recorded = {
  readonly file: string;
  readonly scenario: string;
  readonly request: {
    readonly method: string;
    readonly url: string;
    readonly headers: Record<string, string>;
    readonly body_text?: string;
    readonly body_base64?: string;
  };
  /** What is in the body, unpacked. */
  readonly json?: unknown;
};

export function recordings(family: string): readonly Recorded[] {
  const files = globSync(`test/sdk/fixtures/${family}/*/*.json`).sort();
  return files.map((file) => ({
    file: file.slice('test/sdk/fixtures/'.length),
    ...(JSON.parse(readFileSync(file, 'utf8')) as Omit<Recorded, 'file'>),
  }));
}

export type Answered = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: Buffer };

export function send(
  port: number,
  {
    method,
    path,
    headers = {},
    body,
  }: { method: string; path: string; headers?: Record<string, string>; body?: Buffer | string | undefined },
): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const outgoing = httpRequest({ host: '127.0.0.1', port, method, path, headers }, (incoming) => {
    const parts: Buffer[] = [];
    incoming.on('data', (part: Buffer) => parts.push(part));
    incoming.on('end', () =>
      resolve({ status: incoming.statusCode!, headers: incoming.headers, body: Buffer.concat(parts) }),
    );
    incoming.on('error', reject);
  });
  outgoing.on('error', reject);
  outgoing.end(body);
  return promise;
}

/** Headers that carry a token. */
const TOKEN_HEADERS = new Set(['authorization', 'x-write-key', 'x-api-key']);

/** How a request is sent again. */
export type Variation = {
  /** With no header but the one that has the token. */
  readonly isBare?: boolean;
  /** With another spelling of its path. */
  readonly respell?: (path: string) => string;
};

export function resend(
  port: number,
  { request }: Recorded,
  { isBare = false, respell = (path) => path }: Variation = {},
) {
  const { method, url, body_text, body_base64 } = request;
  const headers = Object.entries(request.headers).filter(([name]) => !isBare || TOKEN_HEADERS.has(name));
  const [path, ...query] = url.split('?');
  const body = body_base64 === undefined ? body_text : Buffer.from(body_base64, 'base64');
  return send(port, { method, path: [respell(path!), ...query].join('?'), headers: Object.fromEntries(headers), body });
}

/** The path with a slash at its end, or without the one it has. */
export const withOtherSlash = (path: string): string => (path.endsWith('/') ? path.slice(0, -1) : `${path}/`);

/** The path as a base address makes it that ends in a slash. */
export const withTwoSlashes = (path: string): string => `/${path}`;
