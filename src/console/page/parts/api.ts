/** The operator's API as the page asks it. Every answer is JSON; every failure is an `ApiError`. */
import { signal } from '@preact/signals';
import type { SessionAnswer } from '../../session/answers.ts';

const BASE = '/api/v1/operator';
const FALLBACK = 'The console does not answer. The service itself may be well: `weir doctor` says so.';

/** Why a request had no good answer, in words for a person. `status` is 0 where there was no answer at all. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: string;
  readonly details: unknown;

  constructor(status: number, code: string, message: string, details: unknown = null) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

/** Who is signed in; null for nobody, undefined until it is known. */
export const session = signal<SessionAnswer | null | undefined>(undefined);

type Asked = { readonly signal?: AbortSignal };

/** `query`: members that are null or empty are left out. Throws `ApiError`. */
export async function get<T>(path: string, query: Query = {}, { signal }: Asked = {}): Promise<T> {
  return (await (await send('GET', path + queryOf(query), undefined, signal)).json()) as T;
}

/** Throws `ApiError`. */
export async function post<T>(path: string, body: unknown, { signal }: Asked = {}): Promise<T> {
  return (await (await send('POST', path, body, signal)).json()) as T;
}

/** Throws `ApiError`. */
export async function put<T>(path: string, body: unknown): Promise<T> {
  return (await (await send('PUT', path, body)).json()) as T;
}

/** Throws `ApiError`. Resolves with what was answered; null where that was nothing. */
export async function remove<T>(path: string): Promise<T | null> {
  const text = await (await send('DELETE', path)).text();
  return text === '' ? null : (JSON.parse(text) as T);
}

/** Why a path is refused to what does not say so itself, such as a stream; null where it is answered. Never rejects. */
export async function refusalOf(path: string, query: Query = {}, { signal }: Asked = {}): Promise<ApiError | null> {
  try {
    const answer = await send('GET', path + queryOf(query), undefined, signal);
    await answer.body?.cancel();
    return null;
  } catch (error) {
    return error as ApiError;
  }
}

/** The address of an answer, for links. */
export const addressOf = (path: string, query: Query = {}): string => BASE + path + queryOf(query);

export type Query = Readonly<Record<string, string | number | null | undefined>>;

function queryOf(query: Query): string {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  if (given.length === 0) return '';
  return `?${new URLSearchParams(given.map(([name, value]) => [name, String(value)])).toString()}`;
}

async function send(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<Response> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (body !== undefined) headers['Content-Type'] = 'application/json';
  const csrf = session.value?.csrf;
  if (method !== 'GET' && csrf !== undefined) headers['X-Weir-Csrf'] = csrf;
  const request: RequestInit = { method, headers, credentials: 'same-origin' };
  if (body !== undefined) request.body = JSON.stringify(body);
  if (signal) request.signal = signal;
  const answer = await fetch(BASE + path, request).catch((error: unknown) => {
    if (signal?.aborted) throw error;
    throw new ApiError(0, 'unreachable', FALLBACK);
  });
  if (answer.ok) return answer;
  const refused = await refusalIn(answer);
  // The session has ended: by time, by signing out elsewhere, or by whoever keeps the accounts.
  if (refused.status === 401 && session.value) session.value = null;
  throw refused;
}

async function refusalIn(answer: Response): Promise<ApiError> {
  const body = (await answer.json().catch(() => null)) as { error?: string; code?: string; details?: unknown } | null;
  const message = body?.error ?? `The console answered ${answer.status}.`;
  return new ApiError(answer.status, body?.code ?? 'unknown', message, body?.details ?? null);
}
